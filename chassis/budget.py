"""A sum of bytes that the work at hand may hold in memory: beyond it, work waits its turn or is turned away.

First come, first served, so that a large piece is not overtaken for ever. It must never block work that holds nothing.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class NoRoom(Exception):
    """Not enough bytes came free in time."""


class ByteBudget:
    """`octets` for all rooms together. One piece may ask for more than that: it then gets all of it, alone."""

    def __init__(self, octets: int) -> None:
        self.octets = octets
        self._free = octets
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def held(self) -> int:
        return self.octets - self._free

    @contextmanager
    def room(self) -> Iterator["Room"]:
        """Empty at first; what it has grown to is given back at the end."""
        room = Room(self)
        try:
            yield room
        finally:
            self.give_back(room.octets)

    async def take(self, octets: int, *, within: float) -> None:
        """Raises NoRoom."""
        if not self._waiting and octets <= self._free:
            self._free -= octets
            return
        if within <= 0:
            raise NoRoom
        turn = (octets, asyncio.get_running_loop().create_future())
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(within):
                await turn[1]
        except TimeoutError as error:
            self._leave(turn)
            raise NoRoom from error
        except asyncio.CancelledError:
            self._leave(turn)
            raise

    def give_back(self, octets: int) -> None:
        self._free += octets
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            octets, turn = self._waiting.popleft()
            self._free -= octets
            turn.set_result(None)

    def _leave(self, turn: tuple[int, asyncio.Future[None]]) -> None:
        """Out of the queue; what was granted in the same moment goes to the next one."""
        if turn in self._waiting:
            self._waiting.remove(turn)
            self._serve()
        elif turn[1].done() and not turn[1].cancelled():
            self.give_back(turn[0])


class Room:
    """What one piece of work holds."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.octets = 0

    async def grow(self, octets: int, *, within: float) -> None:
        """Hold `octets` from now on, if it is not more already. Raises NoRoom.

        Who holds something should not ask for more: two that do might wait for each other. Ask for the most that it
        can be, and give the rest back.
        """
        wanted = min(octets, self._budget.octets)
        if wanted > self.octets:
            await self._budget.take(wanted - self.octets, within=within)
            self.octets = wanted

    def shrink(self, octets: int) -> None:
        """Hold no more than `octets` from now on."""
        if octets < self.octets:
            self._budget.give_back(self.octets - octets)
            self.octets = octets
