"""Room for transactions: so many per path, at most half of them for one destination, the higher priority first.

FIFO within a priority and destination; destinations of one priority take turns. It must never starve a path that has
room: whoever leaves wakes whoever may come.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from schemas.mail import Priority
from services.sender import metrics
from services.sender.ports import NoRoom, Way

# Express before standard, and within a lane the tier that comes first.
_ORDER: tuple[Priority, ...] = ("critical", "high", "normal", "bulk")

_Waiting = OrderedDict[str, deque[asyncio.Future[None]]]  # by destination, in the order of their turns


class _Room:
    """One path's."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._share = max(1, size // 2)  # one slow destination leaves the other half to the rest
        self._taken: Counter[str] = Counter()
        self._waiting: dict[Priority, _Waiting] = {priority: OrderedDict() for priority in _ORDER}
        self.waiters = 0

    def count_waiters(self) -> int:
        return self.waiters

    def take(self, destination: str) -> bool:
        """Without waiting: only where nobody waits who might come first."""
        if self.waiters or not self._free or self._taken[destination] >= self._share:
            return False
        self._occupy(destination)
        return True

    def wait(self, destination: str, priority: Priority) -> asyncio.Future[None]:
        """Done when a slot is ours."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[priority].setdefault(destination, deque()).append(future)
        self.waiters += 1
        self.admit()
        return future

    def give_up(self, destination: str, priority: Priority, future: asyncio.Future[None]) -> None:
        """The waiter goes away; what it was given meanwhile it gives back."""
        if future.done() and not future.cancelled():
            self.leave(destination)
            return
        queue = self._waiting[priority].get(destination)
        if queue is not None and future in queue:
            queue.remove(future)
            self.waiters -= 1
            if not queue:
                del self._waiting[priority][destination]

    def leave(self, destination: str) -> None:
        self._free += 1
        self._taken[destination] -= 1
        if not self._taken[destination]:
            del self._taken[destination]
        self.admit()

    def admit(self) -> None:
        """Give what is free to those who come first."""
        for priority in _ORDER:
            waiting = self._waiting[priority]
            for destination in list(waiting):
                if not self._free:
                    return
                self._admit_from(waiting, destination)

    def _admit_from(self, waiting: _Waiting, destination: str) -> None:
        queue = waiting[destination]
        if self._taken[destination] >= self._share:
            return
        future = queue.popleft()
        self.waiters -= 1
        if queue:
            waiting.move_to_end(destination)
        else:
            del waiting[destination]
        if not future.done():
            self._occupy(destination)
            future.set_result(None)

    def _occupy(self, destination: str) -> None:
        self._free -= 1
        self._taken[destination] += 1


class PathSlots:
    """See `services.sender.ports.Slots`."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rooms: dict[str, _Room] = {}

    @asynccontextmanager
    async def slot(self, way: Way, destination: str, priority: Priority, *, within: float) -> AsyncIterator[None]:
        room = self._room(way.path)
        if not room.take(destination):
            await self._wait(room, destination, priority, within)
        try:
            yield
        finally:
            room.leave(destination)

    def _room(self, path: str) -> _Room:
        room = self._rooms.get(path)
        if room is None:
            room = self._rooms[path] = _Room(self._size)
            metrics.WAITING.labels(path).set_function(room.count_waiters)
        return room

    async def _wait(self, room: _Room, destination: str, priority: Priority, within: float) -> None:
        future = room.wait(destination, priority)
        try:
            async with asyncio.timeout(within):
                await future
        except TimeoutError as error:
            room.give_up(destination, priority, future)
            raise NoRoom from error
        except asyncio.CancelledError:
            room.give_up(destination, priority, future)
            raise
