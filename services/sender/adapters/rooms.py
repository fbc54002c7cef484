"""Which room a way leads to, and the shape of each: by provider, by what is agreed with a smarthost, by policy (R21)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol

from services.sender.domain.queue import W
from services.sender.domain.room import Key, Room
from services.sender.domain.shaping import Override, Shape, of_provider, of_smarthost, shaped
from services.sender.ports import PathLimits, Way

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


class Rooms(Generic[W]):
    """Made when they are first needed, forgotten when they are long out of use."""

    def __init__(self, sizes: Sizes, policies: Policies) -> None:
        self._sizes = sizes
        self._policies = policies
        self._rooms: dict[Key, Room[W]] = {}
        self._limits: dict[Key, PathLimits | None] = {}

    def __iter__(self) -> Iterator[Room[W]]:
        return iter(self._rooms.values())

    def of(self, way: Way, now_ms: int) -> Room[W]:
        smarthost = way.provider_group == way.path or not way.servers  # without servers: the sandbox
        key = (way.path, way.source_address or "", way.path if smarthost else way.provider_group)
        room = self._rooms.get(key)
        if room is None or way.limits != self._limits[key]:
            self._limits[key] = way.limits
            shape = self._shape(key, smarthost=smarthost)
            if room is not None:
                room.shape = shape
                return room
            replicas = 1 if smarthost else self._sizes.replicas
            room = self._rooms[key] = Room(key, shape, replicas, now_ms, smarthost=smarthost)
        return room

    def introduce(self, room: Room[W], destination: str) -> None:
        """Before one comes in that goes there, or waits."""
        room.know(destination, self._policies.of_destination(room.group, destination))

    def reshape(self) -> None:
        """Policies have changed."""
        for key, room in self._rooms.items():
            room.reshape(self._shape(key, smarthost=room.smarthost), partial(self._policies.of_destination, room.group))

    def forget(self, now_ms: int) -> None:
        for key, room in list(self._rooms.items()):
            if room.is_forgettable(now_ms, _FORGET_AFTER_MS):
                del self._rooms[key], self._limits[key]

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
