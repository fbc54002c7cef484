"""The DKIM keys of each project's domains, from the table that ingest writes (R26).

A table that lags is no reason to stop: keys change seldom, and an old one is published for longer than a mail is under
way. It must never log a key, nor keep a mail from going out: without a usable key it goes unsigned.
"""

from collections.abc import Sequence

from chassis.clock import Clock
from chassis.log import Log, LogUnavailable
from chassis.sealing import Seals, WrongSealingKey
from chassis.table import Table
from chassis.tail import Tail
from chassis.telemetry import logger
from schemas.tables import DkimKey, Domain
from schemas.topics import TOPICS
from services.sender import metrics
from services.sender.domain.dkim import Signer, UnusableKey, private_key

_TOPIC = TOPICS["domains"]
_LOOK_AGAIN = 5.0  # seconds until a line in the log says that the keys are still being read

_log = logger("signing")


class SigningKeys:
    """A part of the service (`chassis.service.Part`). Each key is opened and parsed once, when it is first used."""

    def __init__(self, log: Log, tail: Tail, clock: Clock, seals: Seals | None) -> None:
        self._tail = tail
        self._clock = clock
        self._seals = seals
        self._domains: Table[Domain] = Table(_TOPIC, Domain, log, tail, clock)
        self._domains.on_change(self._changed)
        self._signers: dict[str, Sequence[Signer]] = {}

    async def start(self) -> None:
        """Returns when it knows the keys there were at the call; waits for the brokers as long as it takes."""
        for partition in range(_TOPIC.partitions):
            await self._tail.follow(_TOPIC.name, partition, self._domains.apply)
        places = [(_TOPIC.name, partition) for partition in range(_TOPIC.partitions)]
        for (topic, partition), end in (await self._tail.end_offsets(places)).items():
            await self._caught_up(topic, partition, end)

    async def stop(self) -> None:
        """The tail ends by itself."""

    def of(self, project_id: str, domain: str) -> Sequence[Signer]:
        """Those of the domain itself: a signature is aligned with From, or not made."""
        key = f"{project_id}:{domain}"
        found = self._signers.get(key)
        if found is None:
            if (entry := self._domains.get(key)) is None:
                return ()
            found = self._signers[key] = self._opened(entry)
        return found

    def _opened(self, domain: Domain) -> Sequence[Signer]:
        seals = self._seals
        if seals is None:
            return ()
        return tuple(signer for key in domain.dkim_keys if (signer := _signer(domain, key, seals)) is not None)

    def _changed(self, key: str, _before: Domain | None, _after: Domain | None) -> None:
        self._signers.pop(key, None)

    async def _caught_up(self, topic: str, partition: int, end: int) -> None:
        while True:
            try:
                return await self._tail.applied(topic, partition, end - 1, within=_LOOK_AGAIN)
            except LogUnavailable as error:
                _log.warning("signing_keys_not_read", reason=str(error))
                await self._clock.sleep(_LOOK_AGAIN)


def _signer(domain: Domain, key: DkimKey, seals: Seals) -> Signer | None:
    try:
        return Signer(domain.domain, key.selector, private_key(seals.open(key.sealed_private_key)))
    except (WrongSealingKey, UnusableKey) as error:
        _log.error("signing_key_unusable", domain=domain.domain, selector=key.selector, reason=str(error))
        metrics.UNUSABLE_KEYS.inc()
        return None
