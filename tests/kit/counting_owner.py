"""A stateful service as small as can be: it keeps, per key, the list of numbers it was sent, and emits one output for each.

Runs inside a test, or as a process that can be killed and frozen: `python -m tests.kit.counting_owner '<json>'`.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import orjson

from chassis.changelog import Changelog
from chassis.clock import SystemClock
from chassis.failures import DeadLetters
from chassis.log import Incoming, Log, Outgoing
from chassis.partition_owner import OwnedPartition, PartitionOwner, Received, Step, Tenure
from chassis.service import Crash
from chassis.tail import Tail
from schemas.envelope import encode, seal
from schemas.inputs import Recheck
from schemas.states import POSITION_KEY
from schemas.topics import TOPICS, Topic
from tests.kit.topics import kafka_settings, renamed


@dataclass(frozen=True)
class Counting:
    """What there is to know to take part: topics by their Kafka names, the group, who one is."""

    bootstrap_servers: str
    group: str
    inputs: str
    changelog: str
    outputs: str
    owner_id: str
    partitions: int = 4
    session_seconds: float = 4.0

    @property
    def inputs_topic(self) -> Topic:
        return renamed(TOPICS["message-inputs.express"], self.inputs, partitions=self.partitions)

    @property
    def changelog_topic(self) -> Topic:
        return renamed(TOPICS["message-state.express"], self.changelog, partitions=self.partitions)


def number_record(topic: str, key: str, number: int, partition: int) -> Outgoing:
    """An input: `number` for `key`."""
    envelope = seal(
        Recheck(message_id=key, suppression_id=str(number)),
        record_id=f"{key}-{number}",
        source="test",
        subject=key,
        time_ms=0,
        project_id="proj_1",
    )
    return Outgoing(topic, key, encode(envelope), partition)


@dataclass
class CountingPartition:
    """The view of one partition: see OwnedPartition."""

    setup: Counting
    partition: int
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    applied: list[Incoming] = field(default_factory=list)
    position: int | None = None
    hold: Callable[[Sequence[Received]], None] = lambda inputs: None
    closed: bool = False

    def changelog_start(self) -> int | None:
        return None

    def apply(self, record: Incoming) -> None:
        self.applied.append(record)
        data = orjson.loads(record.value or b'{"data": null}')["data"]
        if record.key == POSITION_KEY:
            self.position = self.position if data is None else data["input_offset"]
        elif data is None:
            self.states.pop(record.key, None)
        else:
            self.states[record.key] = data

    def input_position(self) -> int | None:
        return self.position

    async def decide(self, inputs: Sequence[Received], tenure: Tenure) -> Step:
        self.hold(inputs)
        folded: dict[str, dict[str, Any]] = {}
        outputs: list[Outgoing] = []
        for received in inputs:
            key, offset = received.record.key, received.record.offset
            state = folded.get(key) or self.states.get(key) or {"numbers": [], "offset": -1, "outbox": {}}
            if offset <= state["offset"]:  # folded already: only what it caused is said again
                outputs += [self._output(key, said) for said in [state["outbox"].get(str(offset))] if said is not None]
                continue
            said = self._said(received, state)
            recent = {at: text for at, text in state["outbox"].items() if int(at) >= inputs[0].record.offset}
            folded[key] = {
                "numbers": [*state["numbers"], *([] if received.envelope is None else [said["number"]])],
                "offset": offset,
                "outbox": {**recent, str(offset): said},
            }
            outputs.append(self._output(key, said))
        return Step([self._state(key, data, tenure) for key, data in folded.items()], outputs)

    async def tick(self, tenure: Tenure) -> Step:
        return Step()

    def position_record(self, input_offset: int, tenure: Tenure) -> Outgoing | None:
        return self._state(POSITION_KEY, {"input_offset": input_offset}, tenure)

    def current(self, key: str, tenure: Tenure) -> Outgoing | None:
        data = self.states.get(key)
        return None if data is None else self._state(key, data, tenure)

    def close(self) -> None:
        self.closed = True

    @staticmethod
    def _said(received: Received, state: dict[str, Any]) -> dict[str, Any]:
        if received.envelope is None:
            return {"poison": received.reason, "dead_letter": received.dead_letter}
        assert isinstance(received.envelope.data, Recheck)
        return {"number": int(received.envelope.data.suppression_id), "place": len(state["numbers"])}

    def _state(self, key: str, data: dict[str, Any], tenure: Tenure) -> Outgoing:
        marked = data | {
            "epoch": tenure.epoch,
            "valid_until_ms": tenure.valid_until_ms,
            "owner": self.setup.owner_id,
        }
        value = orjson.dumps({"data": marked})
        return Outgoing(self.setup.changelog, key, value, self.partition, valid_until_ms=tenure.valid_until_ms)

    def _output(self, key: str, said: dict[str, Any]) -> Outgoing:
        headers = (("owner", self.setup.owner_id.encode()),)
        return Outgoing(self.setup.outputs, key, orjson.dumps(said | {"key": key}), self.partition, headers)


@dataclass
class Service:
    """All parts of one replica; `views` are the partitions' views in the order they were made."""

    setup: Counting
    log: Log
    tail: Tail
    owner: PartitionOwner
    crash: Crash
    views: list[CountingPartition]

    async def start(self) -> None:
        await self.log.start()
        await self.tail.start()
        await self.owner.start()

    async def stop(self) -> None:
        await self.owner.stop()
        await self.tail.stop()
        await self.log.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def service(
    setup: Counting, make: Callable[[Counting, int], CountingPartition] = CountingPartition, **limits: Any
) -> Service:
    """A replica, not started yet. Needs a running loop."""
    kafka = kafka_settings(setup.bootstrap_servers, session_timeout=f"{setup.session_seconds}s", request_timeout="3s")
    log, crash, views = Log(kafka, client_id=setup.owner_id), Crash(), list[CountingPartition]()
    tail = Tail(kafka, client_id=f"{setup.owner_id}-tail", crash=crash)

    def factory(_: Topic, partition: int) -> OwnedPartition:
        views.append(make(setup, partition))
        return views[-1]

    owner = PartitionOwner(
        kafka,
        log,
        tail,
        SystemClock(),
        DeadLetters(log, group=setup.group, **limits),
        group=setup.group,
        changelogs={setup.inputs_topic: setup.changelog_topic},
        factory=factory,
        owner_id=setup.owner_id,
        crash=crash,
    )
    return Service(setup, log, tail, owner, crash, views)


def live_states(changelog: Iterable[Incoming]) -> dict[str, list[int]]:
    """Each key's numbers, as a take-over would read them from this changelog partition."""
    states: dict[str, list[int]] = {}

    def apply(record: Incoming) -> None:
        data = orjson.loads(record.value or b"{}").get("data")
        if record.key != POSITION_KEY and data is not None:
            states[record.key] = data["numbers"]

    folding = Changelog(apply)
    for record in changelog:
        folding.apply(record)
    return states


async def _main(setup: Counting) -> None:
    running = service(setup)
    await running.start()
    failure = await running.crash.reported()
    raise failure


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_main(Counting(**json.loads(sys.argv[1]))))
