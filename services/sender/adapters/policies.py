"""What the installation's policies say of the pace, from the table that ingest writes (R21).

Read to its end before mail goes out; after that a change takes effect as soon as it is read, on what waits as well.
"""

from collections.abc import Callable

from chassis.clock import Clock
from chassis.log import Log, LogUnavailable
from chassis.table import Table
from chassis.tail import Tail
from chassis.telemetry import logger
from schemas.routing import Policy
from schemas.topics import TOPICS
from services.sender.domain.shaping import Override, override_for

_TOPIC = TOPICS["policies"]
_LOOK_AGAIN = 5.0  # seconds until a line in the log says that they are still being read
_MOST_REMEMBERED = 10_000  # answers, until the next change

_log = logger("policies")


class PacePolicies:
    """A part of the service (`chassis.service.Part`), and `services.sender.adapters.rooms.Policies`."""

    def __init__(self, log: Log, tail: Tail, clock: Clock) -> None:
        self._tail = tail
        self._clock = clock
        self._policies: Table[Policy] = Table(_TOPIC, Policy, log, tail, clock)
        self._policies.on_change(self._changed)
        self._found: dict[tuple[str, str | None], Override] = {}
        self._notify: Callable[[], None] = lambda: None

    def on_change(self, notify: Callable[[], None]) -> None:
        self._notify = notify

    async def start(self) -> None:
        """Returns when it knows those there were at the call; waits for the brokers as long as it takes."""
        await self._tail.follow(_TOPIC.name, 0, self._policies.apply)
        for (topic, partition), end in (await self._tail.end_offsets([(_TOPIC.name, 0)])).items():
            await self._caught_up(topic, partition, end)

    async def stop(self) -> None:
        """The tail ends by itself."""

    def of_group(self, group: str) -> Override:
        return self._find(group, None)

    def of_destination(self, group: str, destination: str) -> Override:
        return self._find(group, destination)

    def _find(self, group: str, destination: str | None) -> Override:
        """Asked for every mail; policies are few, and change seldom."""
        if not self._policies:
            return _NOTHING
        found = self._found.get((group, destination))
        if found is None:
            if len(self._found) >= _MOST_REMEMBERED:
                self._found.clear()
            found = self._found[group, destination] = override_for(self._policies.values(), group, destination)
        return found

    def _changed(self, _key: str, _before: Policy | None, _after: Policy | None) -> None:
        self._found.clear()
        self._notify()

    async def _caught_up(self, topic: str, partition: int, end: int) -> None:
        while True:
            try:
                return await self._tail.applied(topic, partition, end - 1, within=_LOOK_AGAIN)
            except LogUnavailable as error:
                _log.warning("policies_not_read", reason=str(error))
                await self._clock.sleep(_LOOK_AGAIN)


_NOTHING = Override()
