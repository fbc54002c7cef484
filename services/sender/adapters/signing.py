"""What each project's domains have for a mail, from the table that ingest writes: DKIM keys, a return path (R26, R27).

A table that lags is no reason to stop: keys change seldom, and an old one is published for longer than a mail is under
way. It must never log a key, nor keep a mail from going out: without a usable key it goes unsigned.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Sending:
    """From one domain."""

    signers: Sequence[Signer] = ()
    return_path: str | None = None  # the sub-domain whose mail comes to us, by a record that DNS was seen to have


_NOTHING = Sending()


class SendingDomains:
    """A part of the service (`chassis.service.Part`). Each key is opened and parsed once, when it is first used."""

    def __init__(self, log: Log, tail: Tail, clock: Clock, seals: Seals | None) -> None:
        self._tail = tail
        self._clock = clock
        self._seals = seals
        self._domains: Table[Domain] = Table(_TOPIC, Domain, log, tail, clock)
        self._domains.on_change(self._changed)
        self._sendings: dict[str, Sending] = {}

    async def start(self) -> None:
        """Returns when it knows the keys there were at the call; waits for the brokers as long as it takes."""
        for partition in range(_TOPIC.partitions):
            await self._tail.follow(_TOPIC.name, partition, self._domains.apply)
        places = [(_TOPIC.name, partition) for partition in range(_TOPIC.partitions)]
        for (topic, partition), end in (await self._tail.end_offsets(places)).items():
            await self._caught_up(topic, partition, end)

    async def stop(self) -> None:
        """The tail ends by itself."""

    def of(self, project_id: str, domain: str) -> Sending:
        """What the domain itself has: a signature is aligned with From, or not made."""
        key = f"{project_id}:{domain}"
        found = self._sendings.get(key)
        if found is None:
            if (entry := self._domains.get(key)) is None:
                return _NOTHING
            found = self._sendings[key] = Sending(self._opened(entry), _return_path(entry))
        return found

    def _opened(self, domain: Domain) -> Sequence[Signer]:
        seals = self._seals
        if seals is None:
            return ()
        return tuple(signer for key in domain.dkim_keys if (signer := _signer(domain, key, seals)) is not None)

    def _changed(self, key: str, _before: Domain | None, _after: Domain | None) -> None:
        self._sendings.pop(key, None)

    async def _caught_up(self, topic: str, partition: int, end: int) -> None:
        while True:
            try:
                return await self._tail.applied(topic, partition, end - 1, within=_LOOK_AGAIN)
            except LogUnavailable as error:
                _log.warning("signing_keys_not_read", reason=str(error))
                await self._clock.sleep(_LOOK_AGAIN)


def _return_path(domain: Domain) -> str | None:
    """Only while its record was found: elsewhere bounces would be lost, and SPF would find nothing."""
    found = any(record.purpose == "return_path" and record.status == "found" for record in domain.records)
    return domain.return_path if found else None


def _signer(domain: Domain, key: DkimKey, seals: Seals) -> Signer | None:
    try:
        return Signer(domain.domain, key.selector, private_key(seals.open(key.sealed_private_key)))
    except (WrongSealingKey, UnusableKey) as error:
        _log.error("signing_key_unusable", domain=domain.domain, selector=key.selector, reason=str(error))
        metrics.UNUSABLE_KEYS.inc()
        return None
