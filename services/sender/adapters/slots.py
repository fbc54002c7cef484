"""Room for transactions: bounded in all, per provider and address, and per destination of a smarthost (R10, R21; D34, D51).

What finds no room soon goes back to the router, so that nobody's slowness fills this process. It must never starve what
has room: whoever leaves wakes whoever may come.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from chassis.telemetry import logger
from schemas.mail import Priority
from services.sender import metrics
from services.sender.adapters.rooms import ORDER, Key, Room, Slot, Waiter
from services.sender.domain.outcome import Outcome
from services.sender.domain.shaping import Override, Shape, of_provider, of_smarthost, shaped
from services.sender.ports import NoRoom, PathLimits, Way

_log = logger("slots")

# Longer than this nobody waits here: the router can wait for less memory, and may know another path.
_LONGEST_WAIT_MS = 30_000
# A queue that empties as fast as this costs no memory worth speaking of, and giving back costs more than waiting.
_SHORT_WAIT_MS = 1_000
_SHORTEST_AWAY_MS = 1_000
_FORGET_AFTER_MS = 600_000


class Policies(Protocol):
    """What the installation's policies say."""

    def of_group(self, group: str) -> Override: ...

    def of_destination(self, group: str, destination: str) -> Override: ...


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of the process."""

    slots: int  # transactions at once
    in_hand: int  # deliveries at hand of one lane, waiting ones included
    replicas: int  # senders of this pool, which share the providers' limits
    upstream: PathLimits  # of the environment's smarthost
    idle: float  # seconds that a smarthost's connection is kept


class PacedSlots:
    """See `services.sender.ports.Slots`. `now_ms` is the broker's clock."""

    def __init__(self, sizes: Sizes, policies: Policies, now_ms: Callable[[], int]) -> None:
        self._sizes = sizes
        self._policies = policies
        self._now_ms = now_ms
        self._reserve = max(1, sizes.slots // 20)  # for critical mail
        self._half = max(1, sizes.slots // 2)
        self._half_unsure = max(1, min(sizes.slots, sizes.in_hand) // 2)
        self._rooms: dict[Key, Room] = {}
        self._limits: dict[Key, PathLimits | None] = {}
        self._running = 0
        self._ordinary = 0  # of those, not critical
        self._unsure = 0  # of those, on the way to where the last one was slow, or came to nothing, or was none
        self._hungry: dict[Key, Room] = {}  # where somebody waits

    @asynccontextmanager
    async def slot(self, way: Way, destination: str, priority: Priority, *, within: float) -> AsyncIterator[Slot]:
        room, now_ms = self._room(way), self._now_ms()
        slot = Slot(room, destination, priority, self._learn)
        room.know(destination, self._policies.of_destination(room.group, destination), now_ms)
        try:
            if self._goes_at_once(room, destination, priority, now_ms):
                self._enter(slot)
            else:
                await self._wait(slot, within)
        except BaseException:
            room.forget_idle(destination)
            raise
        try:
            yield slot
        finally:
            self._leave(slot)

    def check(self, way: Way, destination: str, priority: Priority) -> None:
        room, now_ms = self._room(way), self._now_ms()
        if not self._goes_at_once(room, destination, priority, now_ms):
            self._turn_away(room, destination, priority, now_ms)

    def shape(self, way: Way) -> Shape:
        """What holds there now, `connections` as they are learned."""
        room = self._room(way)
        return replace(room.shape, connections=room.limit)

    def reshape(self) -> None:
        """Policies have changed: what waits goes by the new ones."""
        for key, room in self._rooms.items():
            room.reshape(self._shape(key, smarthost=room.smarthost), partial(self._policies.of_destination, room.group))
        self._admit_all()

    def tick(self) -> None:
        """Once a second: give back what turned out to wait for too long, forget what is long over."""
        now_ms = self._now_ms()
        for room in list(self._hungry.values()):
            self._give_back(room, now_ms)
        for key, room in list(self._rooms.items()):
            if room.swift and room.hangs(now_ms):
                self._judge(room, swift=False)
            if room.is_forgettable(now_ms, _FORGET_AFTER_MS):
                del self._rooms[key], self._limits[key]
        self._admit_all()

    def rooms(self) -> Collection[Room]:
        return self._rooms.values()

    # --- rooms ---

    def _room(self, way: Way) -> Room:
        smarthost = way.provider_group == way.path or not way.servers  # without servers: the sandbox
        key = (way.path, way.source_address or "", way.path if smarthost else way.provider_group)
        if key not in self._rooms or way.limits != self._limits[key]:
            self._limits[key] = way.limits
            shape = self._shape(key, smarthost=smarthost)
            if (room := self._rooms.get(key)) is not None:
                room.shape = shape
                return room
            replicas = 1 if smarthost else self._sizes.replicas
            self._rooms[key] = Room(key, shape, replicas, self._now_ms(), smarthost=smarthost)
        return self._rooms[key]

    def _shape(self, key: Key, *, smarthost: bool) -> Shape:
        override = self._policies.of_group(key[2])
        if not smarthost:
            return shaped(of_provider(key[2]), override, self._sizes.replicas)
        limits = self._limits[key] or self._sizes.upstream
        agreed = of_smarthost(
            connections=limits.connections,
            messages_per_connection=limits.messages_per_connection,
            per_second=limits.per_second,
            idle=self._sizes.idle,
        )
        return shaped(agreed, override, 1)

    # --- in and out ---

    def _goes_at_once(self, room: Room, destination: str, priority: Priority, now_ms: int) -> bool:
        """Nobody is overtaken: whoever waits could not go when somebody left last."""
        return self._has_room_for(room, priority) and room.admits(destination, priority, now_ms)

    def _has_room_for(self, room: Room, priority: Priority) -> bool:
        """In the process: the last slots are critical mail's; half of them are the most that one room gets, unless it is
        the only one with work, and the most that all those get of which nobody knows that they are quick.
        """
        if priority == "critical":
            return self._running < self._sizes.slots
        if self._running >= self._sizes.slots or self._ordinary >= max(1, self._sizes.slots - self._reserve):
            return False
        if room.running >= self._half and not self._is_alone(room):
            return False
        return room.swift or self._unsure < self._half_unsure

    def _is_alone(self, room: Room) -> bool:
        return self._running == room.running and not (self._hungry.keys() - {room.key})

    def _is_tight(self) -> bool:
        """Whether who leaves one room may let somebody into another."""
        return self._running >= self._half or self._unsure >= self._half_unsure

    def _enter(self, slot: Slot) -> None:
        slot.room.enter(slot, self._now_ms())
        self._running += 1
        self._ordinary += slot.priority != "critical"
        self._unsure += not slot.room.swift

    def _leave(self, slot: Slot) -> None:
        room, was_tight = slot.room, self._is_tight()
        room.leave(slot, self._now_ms())
        self._running -= 1
        self._ordinary -= slot.priority != "critical"
        self._unsure -= not room.swift
        self._admit(room)
        if was_tight:
            self._admit_all()

    def _learn(self, slot: Slot, outcome: Outcome) -> None:
        """The transaction of this slot ended so."""
        room, now_ms, judged_ms = slot.room, self._now_ms(), slot.room.standing.judged_ms
        self._judge(room, swift=room.learn(slot, outcome, now_ms))
        if room.standing.judged_ms != judged_ms:
            self._tell(room, now_ms)
        if room.waiting and room.standing.closed(now_ms):
            self._give_back(room, now_ms)

    def _tell(self, room: Room, now_ms: int) -> None:
        metrics.SLOWED.labels(room.path, room.label).inc()
        closed_ms = max(0, room.standing.closed_until_ms - now_ms)
        _log.warning("slowed_down", path=room.path, group=room.group, limit=room.limit, closed_for=closed_ms / 1000)

    def _judge(self, room: Room, *, swift: bool) -> None:
        self._unsure += (room.swift - swift) * room.running
        room.swift = swift

    # --- waiting ---

    async def _wait(self, slot: Slot, within: float) -> None:
        room, now_ms = slot.room, self._now_ms()
        self._turn_away(room, slot.destination, slot.priority, now_ms)
        waiter = Waiter(slot, asyncio.get_running_loop().create_future())
        room.queue(waiter, now_ms)
        self._hungry[room.key] = room
        self._admit(room)
        try:
            async with asyncio.timeout(min(within, _LONGEST_WAIT_MS / 1000)):
                await waiter.future
        except TimeoutError as error:
            self._give_up(slot, waiter)
            raise NoRoom(self._now_ms() + _LONGEST_WAIT_MS, "paced") from error
        except asyncio.CancelledError:
            self._give_up(slot, waiter)
            raise

    def _give_up(self, slot: Slot, waiter: Waiter) -> None:
        """The waiter goes away; what it was given meanwhile it gives back."""
        if slot.room.holds(waiter):
            self._take_out(slot.room, waiter)
        elif waiter.future.done() and not waiter.future.cancelled() and waiter.future.exception() is None:
            self._leave(slot)

    def _take_out(self, room: Room, waiter: Waiter) -> None:
        room.take_out(waiter)
        if not room.waiting:
            del self._hungry[room.key]

    def _admit(self, room: Room) -> None:
        """Give what is free to those who come first."""
        for priority in ORDER:
            while self._admit_one(room, priority):
                pass
        self._wake_in_time(room)

    def _admit_one(self, room: Room, priority: Priority) -> bool:
        if not self._has_room_for(room, priority):
            return False
        waiter = room.first(priority, self._now_ms())
        if waiter is None:
            return False
        self._take_out(room, waiter)
        if not waiter.future.done():
            self._enter(waiter.slot)
            waiter.future.set_result(None)
        return True

    def _admit_all(self) -> None:
        """Rooms take turns, within a priority."""
        for priority in ORDER:
            hungry = list(self._hungry.values())
            while hungry:
                hungry = [room for room in hungry if self._admit_one(room, priority)]
        for room in self._hungry.values():
            self._wake_in_time(room)

    def _wake_in_time(self, room: Room) -> None:
        if room.timer is not None:
            room.timer.cancel()
            room.timer = None
        now_ms = self._now_ms()
        if room.waiting and (next_ms := room.next_ms(now_ms)) is not None:
            room.timer = asyncio.get_running_loop().call_later((next_ms - now_ms) / 1000, self._admit, room)

    # --- giving back ---

    def _turn_away(self, room: Room, destination: str, priority: Priority, now_ms: int) -> None:
        """Raises NoRoom where the wait would be too long, or would cost others their place in memory."""
        expected_ms = room.expected_ms(destination, room.ahead_of(priority), now_ms)
        if self._is_too_long(room, destination, expected_ms, room.waiting, now_ms) or (
            not self._is_short(room, expected_ms) and self._patient(now_ms) >= self._sizes.in_hand // 4
        ):
            raise self._no_room(room, expected_ms, now_ms)

    def _give_back(self, room: Room, now_ms: int) -> None:
        for waiter in room.last_first():
            ahead = room.waiting - 1
            expected_ms = room.expected_ms(waiter.destination, ahead, now_ms)
            if self._is_too_long(room, waiter.destination, expected_ms, ahead, now_ms):
                self._take_out(room, waiter)
                if not waiter.future.done():
                    waiter.future.set_exception(self._no_room(room, expected_ms, now_ms))

    def _is_too_long(self, room: Room, destination: str, expected_ms: float | None, ahead: int, now_ms: int) -> bool:
        """A slow queue may hold an eighth of what is at hand, a quick one as much as comes."""
        if expected_ms is not None and expected_ms > _LONGEST_WAIT_MS:
            return True
        most = max(1, self._sizes.in_hand // 8)
        if room.smarthost:
            waiting, own_ms = room.own_ms(destination, now_ms)
            if own_ms is None:  # nobody knows yet: it leaves the other half to the rest
                return waiting > self._sizes.in_hand // 2
            return waiting > most and own_ms > _SHORT_WAIT_MS
        return not self._is_short(room, expected_ms) and ahead >= most

    def _is_short(self, room: Room, expected_ms: float | None) -> bool:
        """All mail of a smarthost goes one way, so that giving some of it back would only let more of the same in: there
        it is a destination that can be slow.
        """
        if room.smarthost:
            return expected_ms is None or expected_ms <= _LONGEST_WAIT_MS
        return expected_ms is not None and expected_ms <= _SHORT_WAIT_MS

    def _patient(self, now_ms: int) -> int:
        """How many wait for what is not quick."""
        return sum(
            room.waiting
            for room in self._hungry.values()
            if not self._is_short(room, room.expected_ms("", room.waiting, now_ms))
        )

    def _no_room(self, room: Room, expected_ms: float | None, now_ms: int) -> NoRoom:
        away_ms = min(max(expected_ms or 0, _SHORTEST_AWAY_MS), _LONGEST_WAIT_MS)
        return NoRoom(max(room.opens_ms(now_ms), now_ms + round(away_ms)), "paced")
