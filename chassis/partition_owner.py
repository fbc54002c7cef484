"""Stateful ownership: one process owns a partition's state, kept in a changelog, and is the only one that decides on it.

A plain aiokafka loop: pause first, restore in a task, fence, resume when ready; a lease from commits gates whatever an
owner writes. Per batch, each step acked before the next: 1 state records, read back unfenced; 2 outputs; 3 the commit, with
the lease's next proof.
It must never emit an output whose state record it has not read back.
"""

import asyncio
from collections.abc import Mapping, Sequence

from aiokafka import TopicPartition

from chassis.clock import Clock
from chassis.failures import DeadLetters, supervised
from chassis.log import Incoming, Log, Outgoing, incoming
from chassis.member import Member
from chassis.ownership import Factory, OwnedPartition, PutsAgain, Received, Step, Tenure
from chassis.progress import Progress
from chassis.rounds import Rounds
from chassis.service import Crash
from chassis.settings import KafkaSettings
from chassis.tail import Tail
from chassis.tenancy import Doubt, FedTenancy, SelfTenancy, Tenancy, Tools
from schemas.topics import Topic

__all__ = ["Factory", "OwnedPartition", "PartitionOwner", "PutsAgain", "Received", "Step", "Tenure"]

RENEW_EVERY = 0.5  # seconds between two proofs of the lease
POLL = 0.2  # seconds to wait for records
POLL_BESIDE_FULL = 0.02  # … while a partition is left out because a batch of it waits already


class PartitionOwner:
    """The consumer group member of a stateful service.

    `changelogs` maps each input topic to its changelog (same number of partitions). Where an input topic is its own
    changelog (webhook deliveries), the partition is read from its beginning at each take-over, every record goes
    through `apply`, `decide` is never called, there is no fence, and only `tick` makes new records.

    `topic` arguments and keys are Kafka names (`Topic.name`). What nobody handles is reported to `crash`.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        log: Log,
        tail: Tail,
        clock: Clock,
        dead_letters: DeadLetters,
        *,
        group: str,
        changelogs: Mapping[Topic, Topic],
        factory: Factory,
        owner_id: str,
        max_batch: int = 500,
        crash: Crash | None = None,
    ) -> None:
        self._crash = crash
        self._group = group
        self._session = kafka.session_timeout.total_seconds()
        self._changelogs = {topic.name: (topic, changelog) for topic, changelog in changelogs.items()}
        self._member = Member(kafka, clock, group=group, topics=list(self._changelogs), membership=self, crash=crash)
        self._clock = clock
        self._progress = Progress(group, clock)
        self._tools = Tools(
            log=log,
            tail=tail,
            clock=clock,
            dead_letters=dead_letters,
            member=self._member,
            progress=self._progress,
            factory=factory,
            owner_id=owner_id,
            max_batch=max_batch,
            rounds=Rounds(clock),
        )
        self._joined = False
        self._tenancies: dict[TopicPartition, Tenancy] = {}
        self._runs: dict[TopicPartition, asyncio.Task[None]] = {}
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Join the group; partitions become ready in the background (`ready`). Waits for the brokers."""
        await self._member.start()
        self._loops = [
            supervised(self._poll(), self._crash),
            supervised(self._member.renew(RENEW_EVERY), self._crash),
        ]

    async def stop(self) -> None:
        """Finish the batch at hand, commit, leave the group."""
        for loop in self._loops[:1]:
            loop.cancel()
        await self.revoked(list(self._tenancies))
        for loop in self._loops:
            loop.cancel()
        await self._member.stop()

    def owned(self) -> Mapping[tuple[str, int], OwnedPartition]:
        """The partitions that are restored and running, by (input topic, partition)."""
        views = ((place, tenancy.view) for place, tenancy in self._tenancies.items())
        return {(place.topic, place.partition): view for place, view in views if view is not None}

    def ready(self) -> list[str]:
        """What is still missing, in words; empty when every assigned partition is restored."""
        if not self._joined:
            return [f"group {self._group}: not joined yet"]
        missing = [
            f"group {self._group}: restoring {place.topic}/{place.partition}"
            for place, tenancy in self._tenancies.items()
            if tenancy.view is None
        ]
        if self._tenancies and self._member.remaining() <= 0:
            missing.append(f"group {self._group}: the brokers have not confirmed the assignment")
        return missing

    def tenure(self, topic: str, partition: int) -> Tenure | None:
        """The right to write for a partition at this moment, or None where there is none."""
        tenancy = self._tenancies.get(TopicPartition(topic, partition))
        return None if tenancy is None else tenancy.tenure()

    async def append(self, topic: str, partition: int, records: Sequence[Outgoing]) -> bool:
        """Append in the name of the owned (input topic, partition); False where the lease is over.

        Raises LogUnavailable. Not for state records: those come from `decide` and `tick`, and are read back.
        """
        tenancy = self._tenancies.get(TopicPartition(topic, partition))
        if tenancy is None or tenancy.view is None:
            return False
        try:
            await tenancy.append(records)
        except Doubt:
            return False
        return True

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """The group's word (see `chassis.member.Membership`)."""
        self._joined = True
        for place in partitions:
            topic, changelog = self._changelogs[place.topic]
            kind = SelfTenancy if topic == changelog else FedTenancy
            tenancy = self._tenancies[place] = kind(self._tools, topic, changelog, place)
            self._runs[place] = supervised(tenancy.run(), self._crash)

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Let each finish its batch while the lease lasts; then end it."""
        runs = [self._runs.pop(place) for place in partitions if place in self._runs]
        for place in partitions:
            tenancy = self._tenancies.pop(place, None)
            if tenancy is not None:
                tenancy.leave()
        if runs:
            _, late = await asyncio.wait(runs, timeout=max(0.0, self._member.remaining()))
            for run in late:  # still restoring, or past the lease: whatever it does would be void
                run.cancel()
            await asyncio.wait(runs)
        if self._member.pending:
            await self._member.commit()
        self._progress.gone((place.topic, place.partition) for place in partitions)

    async def _poll(self) -> None:
        while True:
            fed = {place: t for place, t in self._tenancies.items() if isinstance(t, FedTenancy)}
            hungry = [place for place, tenancy in fed.items() if not tenancy.full]
            if fed and not hungry:
                await self._clock.sleep(POLL_BESIDE_FULL)
            elif len(hungry) < len(fed):
                self._deliver(await self._fetched(hungry, POLL_BESIDE_FULL))
            else:
                self._deliver(await self._fetched([], POLL))

    async def _fetched(self, places: Sequence[TopicPartition], wait: float) -> dict[TopicPartition, list[Incoming]]:
        """What has come for `places` (all, where none is named). Raises what stops the service, e.g. out of range."""
        batches = await self._member.consumer.getmany(*places, timeout_ms=round(wait * 1000))
        return {place: [incoming(record) for record in records] for place, records in batches.items()}

    def _deliver(self, batches: Mapping[TopicPartition, list[Incoming]]) -> None:
        for place, records in batches.items():
            tenancy = self._tenancies.get(place)
            if isinstance(tenancy, FedTenancy):
                tenancy.receive(records)
                tenancy.report()
