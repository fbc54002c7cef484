"""One batch of inputs, folded in log order: state as it was, decisions on top, and what must be written at the end.

Nothing of it is kept: if the batch comes again, it is folded again from what the changelog says.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import cast

from chassis.failures import Poison
from chassis.ids import parse_message_id
from chassis.log import Outgoing, outgoing
from chassis.partition_owner import Received, Step, Tenure
from chassis.telemetry import logger
from schemas.envelope import decode
from schemas.events import MessageWaiting
from schemas.inputs import AttemptFinished, AttemptUnknown, Due, MessageInput, Recheck, Release, Submit
from schemas.mail import Content, Lane
from schemas.states import MessageState, OutboxEntry
from schemas.topics import message_state
from services.router.domain.admission import TIER, Standing, standing
from services.router.domain.decision import NOTHING, Context, Decision, Given, Listed, Reply, Unreadable
from services.router.domain.evolution import evolve
from services.router.domain.ladder import Ladder, jitter_of
from services.router.domain.message import decide
from services.router.domain.records import UNKNOWN_PROJECT, answer_of, entry_of, listed_address, state_record
from services.router.guidance import Guidance, Guide
from services.router.metrics import DECISIONS, OVERDUE, REPLAYS
from services.router.outbox import Emission, Outbox
from services.router.ports import Suppressions
from services.router.queues import Queues

_log = logger("router")
_decisions = cache(DECISIONS.labels)  # to look a counter up by its labels takes longer than to count

# Only where more than this wait does chance spread what comes due: else the documented times are kept to the second.
_MANY_WAITING = 100


@dataclass(frozen=True, slots=True)
class Place:
    """The partition, and the rules that hold in it."""

    lane: Lane
    partition: int
    pool: str  # of hand-outs from before there was more than one
    ladder: Ladder  # of projects that have none of their own
    watchdog_after: timedelta

    def is_home_of(self, message_id: str) -> bool:
        parts = parse_message_id(message_id)
        return parts is not None and (parts.lane, parts.partition) == (self.lane, self.partition)


@dataclass(slots=True)
class Working:
    """A message as the batch has it so far. `replayed_to` is the last input that its stored state has seen."""

    state: MessageState | None
    project_id: str
    replayed_to: int
    entries: list[OutboxEntry] = field(default_factory=list)
    folded: bool = False

    @classmethod
    def of(cls, record: bytes | None) -> "Working":
        if record is None:
            return cls(None, UNKNOWN_PROJECT, -1)
        envelope = decode(record, {MessageState.TYPE: MessageState})
        return cls(envelope.data, envelope.project_id, envelope.data.input_offset)


def needs_suppressions(inputs: Iterable[Received]) -> bool:
    """Whether any of them may start, or stop, a mail by the suppression list."""
    return any(r.envelope is not None and isinstance(r.envelope.data, Submit | Due | Recheck | Release) for r in inputs)


class Batch:
    """Fold each input with `fold`, then take `step`."""

    def __init__(
        self,
        place: Place,
        queues: Queues,
        suppressions: Suppressions,
        guidance: Guidance,
        stored: Mapping[str, bytes],
        *,
        now_ms: int,
        tenure: Tenure,
        first_offset: int,
    ) -> None:
        self._place = place
        self._queues = queues
        self._overlay = queues.overlay()
        self._suppressions = suppressions
        self._guidance = guidance
        self._stored = stored
        self._now_ms = now_ms
        self._tenure = tenure
        self._first_offset = first_offset
        self._working: dict[str, Working] = {}
        self._emissions: list[tuple[Working, Emission]] = []
        self.idle_timers: list[str] = []  # messages whose timer was decided and changed nothing

    def working(self, message_id: str) -> Working:
        found = self._working.get(message_id)
        if found is None:
            found = self._working[message_id] = Working.of(self._stored.get(message_id))
        return found

    def fold(self, received: Received, submitted: Content | None) -> None:
        """Decide on one input. Raises Poison for one that does not belong here."""
        given = given_of(received, self._place)
        if given is None:
            return
        working = self.working(given.message_id)
        if received.record.offset <= working.replayed_to:
            self._replay(working, received, given)
            return
        context = self._context(working, received, given, submitted)
        decision = decide(working.state, given, context)
        _decisions(self._place.lane, _made(decision)).inc()
        if decision.reply is not None and working.state is None:
            self._answer(working, received, given, decision.reply)
        elif decision is not NOTHING:
            self._fold(working, received, given, decision, context)
        elif isinstance(given, Due):
            self.idle_timers.append(given.message_id)

    def step(self) -> Step:
        outbox = Outbox(self._place.lane, self._place.partition, self._place.pool, self._tenure.valid_until_ms)
        made = Step(state=[self._state_record(working) for working in self._working.values() if working.folded])
        for working, emission in self._emissions:
            made.outputs += outbox.records(emission, working.state)
        return made

    def _fold(self, working: Working, received: Received, given: Given, decision: Decision, context: Context) -> None:
        before, sequence = working.state, 0 if working.state is None else working.state.sequence
        if before is None and received.envelope is not None:
            working.project_id = received.envelope.project_id
        after = evolve(before, given, decision, context)
        working.state = after
        working.folded = True
        self._overlay.moved(None if before is None else standing_of(before), standing_of(after))
        if isinstance(given, Due) and given.kind == "watchdog":
            OVERDUE.labels(self._place.lane).inc()
            _log.error("attempt_overdue", message_id=given.message_id, attempt=given.attempt, dispatch=given.dispatch)
        if decision.events or decision.hand_out or decision.reply:
            entry = entry_of(
                sequence,
                after,
                decision,
                project_id=working.project_id,
                route=context.route,
                offset=context.offset,
                now_ms=self._now_ms,
            )
            working.entries.append(entry)
            self._emit(working, entry, received, given)

    def _answer(self, working: Working, received: Received, given: Given, reply: Reply) -> None:
        """Of a message that nobody knows: a crash brings the same answer again, without a record of it."""
        assert received.envelope is not None
        project_id, offset = received.envelope.project_id, received.record.offset
        entry = answer_of(reply, project_id=project_id, offset=offset, now_ms=self._now_ms)
        self._emit(working, entry, received, given)

    def _replay(self, working: Working, received: Received, given: Given) -> None:
        """Decided before a crash: emitted again as it was, for it may never have gone out."""
        REPLAYS.labels(self._place.lane).inc()
        assert working.state is not None
        for entry in working.state.outbox:
            if entry.input_offset == received.record.offset:
                self._emit(working, entry, received, given)

    def _emit(self, working: Working, entry: OutboxEntry, received: Received, given: Given) -> None:
        submitted = given.content if isinstance(given, Submit) else None
        self._emissions.append((working, Emission(entry, submitted, received.record.traceparent)))

    def _context(self, working: Working, received: Received, given: Given, submitted: Content | None) -> Context:
        attempt = 1 if working.state is None else working.state.attempt
        many = self._queues.waiting > _MANY_WAITING
        guide = self._guide(working, received, given)
        return Context(
            now_ms=self._now_ms,
            offset=received.record.offset,
            landed_ms=received.record.timestamp_ms,
            listed=self._listed(working, received, given),
            checked_at_ms=self._now_ms,
            room=self._has_room(working, given),
            ladder=guide.ladder,
            jitter=jitter_of(given.message_id, attempt) if many else 0,
            route=guide.route,
            watchdog_ms=round(self._place.watchdog_after.total_seconds() * 1000),
            stopped=guide.stopped,
            lapsed=guide.lapsed,
            max_age_ms=guide.max_age_ms,
            schedule_from=guide.schedule_from,
            policies=guide.policies,
            submitted=submitted,
        )

    def _guide(self, working: Working, received: Received, given: Given) -> Guide:
        state, guidance = working.state, self._guidance
        match given:
            case Submit() if state is None and received.envelope is not None:
                group = self._overlay.group_of(given.destination)
                return guidance.starting(given, received.envelope.project_id, group)
            case Due(kind="watchdog") if state is not None:
                return guidance.again(state, working.project_id, self._overlay.group_of(state.destination))
            case Due() | Release() if state is not None:
                return guidance.starting(state, working.project_id, self._overlay.group_of(state.destination))
            case AttemptFinished() | AttemptUnknown() if state is not None:
                return guidance.ending(state, working.project_id, self._overlay.group_of(state.destination))
            case _:
                return guidance.unasked

    def _listed(self, working: Working, received: Received, given: Given) -> Listed | None:
        match given:
            case Submit() if received.envelope is not None:
                address = listed_address(given.recipient, given.destination)
                return self._suppressions.listed(received.envelope.project_id, address, given.tags)
            case Due() | Recheck() | Release() if working.state is not None:
                address = listed_address(working.state.recipient, working.state.destination)
                return self._suppressions.listed(working.project_id, address, working.state.tags)
            case _:
                return None

    def _has_room(self, working: Working, given: Given) -> bool:
        match given:
            case Submit():
                return self._overlay.takes_at_once(given.destination, TIER[given.priority])
            case Due(kind="admission") if working.state is not None:
                state = working.state
                return self._overlay.called_has_room(state.message_id, state.destination, TIER[state.priority])
            case Due() | Release() if working.state is not None:
                return self._overlay.takes_at_once(working.state.destination, TIER[working.state.priority])
            case _:
                return False

    def _state_record(self, working: Working) -> Outgoing:
        state = working.state
        assert state is not None
        # What came before this batch is acked, outputs and all, whether it is committed or not.
        kept = [entry for entry in state.outbox if entry.input_offset >= self._first_offset]
        owned = state.model_copy(
            update={
                "outbox": kept + working.entries,
                "epoch": self._tenure.epoch,
                "valid_until_ms": self._tenure.valid_until_ms,
            }
        )
        return outgoing(
            message_state(self._place.lane),
            state_record(owned, project_id=working.project_id, now_ms=self._now_ms),
            key=state.message_id,
            partition=self._place.partition,
            valid_until_ms=self._tenure.valid_until_ms,
        )


def given_of(received: Received, place: Place) -> Given | None:
    """The input as the domain knows it; None for a poison record that belongs to no message of this partition.

    Raises Poison for a readable one that does not belong here.
    """
    record, envelope = received.record, received.envelope
    if envelope is None:
        return Unreadable(record.key, received.dead_letter) if place.is_home_of(record.key) else None
    data = cast("MessageInput", envelope.data)
    if data.message_id != record.key or not place.is_home_of(data.message_id):
        raise Poison(record, f"an input of {data.message_id[:40]} has no place in this partition, under this key")
    return cast("Given", data)


def standing_of(state: MessageState) -> Standing:
    return standing(
        destination=state.destination,
        priority=state.priority,
        status=state.status,
        in_flight=state.in_flight,
        reason=state.reason,
        due_at_ms=state.due_at_ms,
        closed=state.closed_at_ms is not None,
    )


def _made(decision: Decision) -> str:
    """A decision in one word, for counting."""
    if decision.events and not isinstance(decision.events[-1], MessageWaiting):
        return decision.events[-1].status
    if decision.hand_out is not None:
        return "handed_out"
    if decision.wait is not None:
        return decision.wait.reason
    return "nothing" if decision.reply is None else decision.reply.verdict.verdict
