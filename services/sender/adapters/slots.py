"""Room for transactions: bounded in all, per provider and address, and per destination of a smarthost (R10, R21; D34, D51).

What finds no room soon goes back to the router, so that nobody's slowness fills this process. It must never starve what
has room: whoever leaves wakes whoever may come.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

from chassis.telemetry import logger
from schemas.mail import Priority
from services.sender import metrics
from services.sender.adapters.rooms import Policies, Rooms, Sizes
from services.sender.domain.outcome import Outcome
from services.sender.domain.queue import ORDER, Candidate
from services.sender.domain.room import Key, Prospect, Room
from services.sender.domain.shaping import Shape
from services.sender.domain.sharing import Sharing
from services.sender.ports import Carried, NoRoom, Way

_log = logger("slots")

# Longer than this nobody waits here: the router can wait for less memory, and may know another path.
_LONGEST_WAIT_MS = 30_000
_SHORTEST_AWAY_MS = 1_000


class _Slot:
    """See `services.sender.ports.Slot`; before that, who waits for one, until `called`."""

    def __init__(self, room: "Room[_Slot]", mail: Candidate, learn: "Callable[[_Slot, Outcome], None]") -> None:
        self.room = room
        self.mail = mail
        self.called: asyncio.Future[None] | None = None
        self._learn = learn

    def tell(self, carried: Carried) -> None:
        if isinstance(carried.ended, Outcome):
            self._learn(self, carried.ended)


class PacedSlots:
    """See `services.sender.ports.Slots`. `now_ms` is the broker's clock."""

    def __init__(self, sizes: Sizes, policies: Policies, now_ms: Callable[[], int]) -> None:
        self._in_hand = sizes.in_hand
        self._now_ms = now_ms
        self._sharing = Sharing(sizes.slots, sizes.in_hand)
        self._rooms: Rooms[_Slot] = Rooms(sizes, policies)
        self._hungry: dict[Key, Room[_Slot]] = {}  # where somebody waits
        self._timers: dict[Key, asyncio.TimerHandle] = {}  # until time alone lets one of them in

    @asynccontextmanager
    async def slot(self, way: Way, mail: Candidate, *, within: float) -> AsyncIterator[_Slot]:
        room = self._room(way)
        slot = _Slot(room, mail, self._learn)
        self._rooms.introduce(room, mail.destination)
        try:
            if self._goes_at_once(room, mail, self._now_ms()):
                self._enter(slot)
            else:
                await self._wait(slot, within)
        except BaseException:
            room.forget_idle(mail.destination)
            raise
        try:
            yield slot
        finally:
            self._leave(slot)

    def check(self, way: Way, mail: Candidate) -> None:
        room, now_ms = self._room(way), self._now_ms()
        if not self._goes_at_once(room, mail, now_ms):
            self._turn_away(room, mail, now_ms)

    def shape(self, way: Way) -> Shape:
        """What holds there now, `connections` as they are learned."""
        room = self._room(way)
        return replace(room.shape, connections=room.limit)

    def reshape(self) -> None:
        """Policies have changed: what waits goes by the new ones."""
        self._rooms.reshape()
        self._admit_all()

    def tick(self) -> None:
        """Once a second: give back what turned out to wait for too long, forget what is long over."""
        now_ms = self._now_ms()
        for room in list(self._hungry.values()):
            self._give_back(room, now_ms)
        for room in self._rooms:
            if room.swift and room.hangs(now_ms):
                self._sharing.judge(room, swift=False)
        self._rooms.forget(now_ms)
        self._admit_all()

    def rooms(self) -> Iterable[Room[_Slot]]:
        return self._rooms

    def _room(self, way: Way) -> Room[_Slot]:
        return self._rooms.of(way, self._now_ms())

    # --- in and out ---

    def _goes_at_once(self, room: Room[_Slot], mail: Candidate, now_ms: int) -> bool:
        """Nobody is overtaken: whoever waits could not go when somebody left last."""
        return (
            self._has_room_for(room, mail.priority)
            and room.admits(mail.destination, mail.priority, now_ms)
            and room.holds.until_ms(mail) <= now_ms
        )

    def _has_room_for(self, room: Room[_Slot], priority: Priority) -> bool:
        return self._sharing.admits(room, priority, others_wait=len(self._hungry) > (room.key in self._hungry))

    def _enter(self, slot: _Slot) -> None:
        slot.room.enter(slot, self._now_ms())
        self._sharing.enter(slot.room, slot.mail.priority)

    def _leave(self, slot: _Slot) -> None:
        was_tight = self._sharing.tight
        slot.room.leave(slot, self._now_ms())
        self._sharing.leave(slot.room, slot.mail.priority)
        self._admit(slot.room)
        if was_tight:
            self._admit_all()

    def _learn(self, slot: _Slot, outcome: Outcome) -> None:
        """The transaction of this slot ended so."""
        room, now_ms, judged_ms = slot.room, self._now_ms(), slot.room.standing.judged_ms
        self._sharing.judge(room, swift=room.learn(slot, outcome, now_ms))
        if room.standing.judged_ms != judged_ms:
            self._tell(room, now_ms)
        if room.waiting and room.standing.closed(now_ms):
            self._give_back(room, now_ms)

    def _tell(self, room: Room[_Slot], now_ms: int) -> None:
        metrics.SLOWED.labels(room.path, room.label).inc()
        closed_ms = max(0, room.standing.closed_until_ms - now_ms)
        _log.warning("slowed_down", path=room.path, group=room.group, limit=room.limit, closed_for=closed_ms / 1000)

    # --- waiting ---

    async def _wait(self, slot: _Slot, within: float) -> None:
        self._turn_away(slot.room, slot.mail, self._now_ms())
        slot.called = asyncio.get_running_loop().create_future()
        slot.room.waiting.add(slot)
        self._hungry[slot.room.key] = slot.room
        self._admit(slot.room)
        try:
            async with asyncio.timeout(min(within, _LONGEST_WAIT_MS / 1000)):
                await slot.called
        except TimeoutError as error:
            self._give_up(slot, slot.called)
            raise NoRoom(self._now_ms() + _LONGEST_WAIT_MS, "paced") from error
        except asyncio.CancelledError:
            self._give_up(slot, slot.called)
            raise

    def _give_up(self, slot: _Slot, called: asyncio.Future[None]) -> None:
        """Whoever waited goes away; what it was given meanwhile it gives back."""
        if slot in slot.room.waiting:
            self._take_out(slot)
        elif called.done() and not called.cancelled() and called.exception() is None:
            self._leave(slot)

    def _take_out(self, slot: _Slot) -> None:
        slot.room.waiting.remove(slot)
        if not slot.room.waiting:
            del self._hungry[slot.room.key]

    def _admit(self, room: Room[_Slot]) -> None:
        """Give what is free to those who come first."""
        for priority in ORDER if room.waiting else ():
            while self._admit_one(room, priority):
                pass
        self._wake_in_time(room)

    def _admit_one(self, room: Room[_Slot], priority: Priority) -> bool:
        if not self._has_room_for(room, priority):
            return False
        slot = room.first(priority, self._now_ms())
        if slot is None:
            return False
        self._take_out(slot)
        if slot.called is not None and not slot.called.done():
            self._enter(slot)
            slot.called.set_result(None)
        return True

    def _admit_all(self) -> None:
        """Rooms take turns, within a priority."""
        for priority in ORDER:
            hungry = list(self._hungry.values())
            while hungry:
                hungry = [room for room in hungry if self._admit_one(room, priority)]
        for room in self._hungry.values():
            self._wake_in_time(room)

    def _wake_in_time(self, room: Room[_Slot]) -> None:
        if (timer := self._timers.pop(room.key, None)) is not None:
            timer.cancel()
        if room.waiting and (next_ms := room.next_ms(now_ms := self._now_ms())) is not None:
            later = asyncio.get_running_loop().call_later
            self._timers[room.key] = later((next_ms - now_ms) / 1000, self._admit, room)

    # --- giving back ---

    def _turn_away(self, room: Room[_Slot], mail: Candidate, now_ms: int) -> None:
        """Raises NoRoom where the wait would be too long, or would cost others their place in memory."""
        if (held_ms := room.holds.until_ms(mail)) > now_ms:
            raise NoRoom(held_ms, "paced")
        prospect = room.prospect(mail.destination, room.waiting.ahead_of(mail.priority), now_ms)
        if not self._may_wait(prospect) or (
            prospect.is_slow and self._slow(mail.priority, now_ms) >= self._in_hand // 4
        ):
            raise _no_room(room, prospect, now_ms)

    def _give_back(self, room: Room[_Slot], now_ms: int) -> None:
        for slot in room.waiting.last_first():
            prospect = room.prospect(slot.mail.destination, len(room.waiting) - 1, now_ms)
            if not self._may_wait(prospect):
                self._take_out(slot)
                if slot.called is not None and not slot.called.done():
                    slot.called.set_exception(_no_room(room, prospect, now_ms))

    def _may_wait(self, prospect: Prospect) -> bool:
        if prospect.wait_ms is not None and prospect.wait_ms > _LONGEST_WAIT_MS:
            return False
        return prospect.part is None or prospect.ahead < max(1, self._in_hand // prospect.part)

    def _slow(self, priority: Priority, now_ms: int) -> int:
        return sum(room.slow(priority, now_ms) for room in self._hungry.values())


def _no_room(room: Room[_Slot], prospect: Prospect, now_ms: int) -> NoRoom:
    away_ms = min(max(prospect.wait_ms or 0, _SHORTEST_AWAY_MS), _LONGEST_WAIT_MS)
    return NoRoom(max(room.opens_ms(now_ms), now_ms + round(away_ms)), "paced")
