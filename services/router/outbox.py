"""Outbox entries as records on their way: the same documents give the same bytes, the first time and every other."""

from dataclasses import dataclass

import orjson

from chassis.log import Headers, Outgoing
from schemas.envelope import CONTENT_TYPE
from schemas.mail import Content, Lane
from schemas.states import JsonObject, MessageState, OutboxEntry
from schemas.tables import suppression_key
from schemas.topics import TOPICS, Topic, deliveries
from services.router.domain.records import complete_delivery, is_in_flight

_MESSAGE_EVENTS = TOPICS["message-events"]
_ACCOUNT_EVENTS = TOPICS["account-events"]
_SUPPRESSIONS = TOPICS["suppressions"]
_REPLIES = TOPICS["replies"]


@dataclass(frozen=True, slots=True)
class Emission:
    """One entry, and what it takes from the input that made it."""

    entry: OutboxEntry
    submitted: Content | None  # where the input is the message's Submit
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Outbox:
    """Emits for one partition; `valid_until_ms` is the lease that deliveries go out under.

    `pool` is of entries that name none: they are from before there was more than one.
    """

    lane: Lane
    partition: int
    pool: str
    valid_until_ms: int

    def records(self, emission: Emission, state: MessageState | None) -> list[Outgoing]:
        """What goes out for `emission`, given the state as it is after the whole batch (None: nobody knows the message)."""
        entry, parent = emission.entry, emission.traceparent
        made = [
            _record(_MESSAGE_EVENTS, event, event["subject"], parent, partition=self.partition)
            for event in entry.events
        ]
        if entry.delivery is not None and state is not None and is_in_flight(entry.delivery, state):
            content = state.content or emission.submitted
            assert content is not None, "a hand-out's content is in its state, or in the Submit that is being read"
            document = complete_delivery(entry.delivery, content, self.valid_until_ms)
            topic = deliveries(entry.pool or self.pool, self.lane)
            made.append(
                _record(
                    topic,
                    document,
                    state.message_id,
                    parent,
                    partition=self.partition,
                    valid_until_ms=self.valid_until_ms,
                )
            )
        if entry.suppression is not None:
            listed = entry.suppression["data"]
            key = suppression_key(listed["project_id"], listed["recipient"], listed["origin"])
            made.append(_record(_SUPPRESSIONS, entry.suppression, key, parent))
        if entry.account_event is not None:
            made.append(_record(_ACCOUNT_EVENTS, entry.account_event, entry.account_event["projectid"], parent))
        if entry.reply is not None:
            made.append(_record(_REPLIES, entry.reply, entry.reply["subject"], parent))
        return made


def _record(  # as chassis.log.outgoing, for an envelope that is a document already
    topic: Topic,
    document: JsonObject,
    key: str,
    parent: str | None,
    *,
    partition: int | None = None,
    valid_until_ms: int | None = None,
) -> Outgoing:
    headers: Headers = (
        ("content-type", CONTENT_TYPE.encode()),
        ("ce_type", document["type"].encode()),
        ("ce_id", document["id"].encode()),
    )
    if parent is not None:
        headers += (("traceparent", parent.encode()),)
    return Outgoing(topic.name, key, orjson.dumps(document), partition, headers, valid_until_ms)
