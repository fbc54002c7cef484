"""How the transactions of one process are shared out among the rooms (R10; D34, D51).

Pure. The last of all slots are critical mail's. Half of them is the most that one room gets, unless it is the only one
with work, and the most that all those get together of which nobody knows that they are quick.
"""

from typing import Protocol

from schemas.mail import Priority


class Place(Protocol):
    """A room, as far as it matters here."""

    swift: bool  # known to be quick

    @property
    def running(self) -> int: ...


class Sharing:
    """`slots`: transactions at once; `in_hand`: deliveries of one lane."""

    def __init__(self, slots: int, in_hand: int) -> None:
        self._slots = slots
        self._most_ordinary = max(1, slots - max(1, slots // 20))
        self._half = max(1, slots // 2)
        self._most_unsure = max(1, min(slots, in_hand) // 2)
        self._ordinary = 0  # on their way, not critical
        self._unsure = 0  # on their way to where the last one was slow, or came to nothing, or was none
        self.running = 0

    @property
    def tight(self) -> bool:
        """Whether who leaves one room may let somebody into another."""
        return self.running >= self._half or self._unsure >= self._most_unsure

    def admits(self, room: Place, priority: Priority, *, others_wait: bool) -> bool:
        if priority == "critical":
            return self.running < self._slots
        if self.running >= self._slots or self._ordinary >= self._most_ordinary:
            return False
        alone = room.running == self.running and not others_wait
        if room.running >= self._half and not alone:
            return False
        return room.swift or self._unsure < self._most_unsure

    def enter(self, room: Place, priority: Priority) -> None:
        self.running += 1
        self._ordinary += priority != "critical"
        self._unsure += not room.swift

    def leave(self, room: Place, priority: Priority) -> None:
        self.running -= 1
        self._ordinary -= priority != "critical"
        self._unsure -= not room.swift

    def judge(self, room: Place, *, swift: bool) -> None:
        """What is on its way there counts as that from now on."""
        self._unsure += (room.swift - swift) * room.running
        room.swift = swift
