"""Alerts: every few seconds, each rule is held against what is in the store, and what that changes is told (R34).

One process of all replicas does so at a time: who owns the one partition of alert-states. A change is first a state
record that carries its account event; that is told once the record has been read back, and then the record says so. Who
takes over goes on from there, so an episode is raised once and resolved once, whoever dies in between. It must never
conclude anything from rows that are not in the store yet.
"""

from collections.abc import Mapping, Sequence
from typing import NoReturn

import orjson

from chassis.clock import Clock
from chassis.ids import derived_id
from chassis.log import Incoming, Outgoing, outgoing, tombstone
from chassis.partition_owner import Received, Step, Tenure
from chassis.telemetry import logger
from schemas.alerts import AlertRule, AlertState
from schemas.envelope import decode, encode, seal, to_ms, to_timestamp
from schemas.topics import Topic
from services.analytics.answers import Answers
from services.analytics.domain.alerts import (
    SOURCE,
    Seen,
    Standing,
    decide,
    measured,
    moments,
    news,
    question,
    seen_by,
    standing_of,
    unwatched,
)
from services.analytics.domain.frontier import Frontier
from services.analytics.metrics import ALERTS_LOOKED_AT, ALERTS_SECONDS, ALERTS_TOLD
from services.analytics.ports import AlertRules, LogAway, LogPositions, MetricReads, StoreUnavailable

_log = logger("alerts")
LOOK_EVERY = 2.0  # seconds: an alert is told within ten of the events that raise it
_SHARE = 4.0  # … and a look that takes long is followed by a pause that is longer: others ask the store, too
_SHOWN_EVERY_MS = 15_000  # a value that has changed and changes nothing else


class Alerting:
    """The view of the partition (`chassis.ownership.OwnedPartition`): all states, and what is to be told of them."""

    def __init__(
        self,
        states: Topic,
        events: Topic,
        rules: AlertRules,
        numbers: MetricReads,
        positions: LogPositions,
        clock: Clock,
        *,
        group: str,
    ) -> None:
        """`events` are the account's; `positions` those of message-events; `group` feeds the store."""
        self._topic = states
        self._events = events
        self._rules = rules
        self._numbers = numbers
        self._positions = positions
        self._clock = clock
        self._group = group
        self._frontier = Frontier()
        self._states: dict[str, AlertState] = {}
        self._standings: dict[str, Standing] = {}  # as of the last look; more than a restart would know
        self._looked: dict[str, int] = {}
        # Where a record of an earlier owner has landed late: compaction would keep it, so the value is put again.
        self._overwritten: set[str] = set()
        self._told: set[str] = set()  # ids of events that are in the log, of states that do not say so yet
        self._look_due = 0.0

    def changelog_start(self) -> int | None:
        return None

    def apply(self, record: Incoming) -> None:
        if record.value is None:
            self._states.pop(record.key, None)
            self._standings.pop(record.key, None)
            return
        before, state = self._states.get(record.key), decode(record.value, {AlertState.TYPE: AlertState}).data
        if before is not None and state.evaluated_at < before.evaluated_at:
            self._overwritten.add(record.key)
            return
        self._states[record.key] = state
        if before is not None and before.pending is not None and state.pending is None:
            self._told.discard(_event_id(before))

    def input_position(self) -> int | None:
        return None

    async def decide(self, inputs: Sequence[Received], tenure: Tenure) -> NoReturn:
        del inputs, tenure
        raise AssertionError("alert-states has no inputs: its records are the state")

    def position_record(self, input_offset: int, tenure: Tenure) -> Outgoing | None:
        del input_offset, tenure
        return None

    async def tick(self, tenure: Tenure) -> Step:
        del tenure  # the records carry no marks: a late one is known by its time
        step = Step([self._record(self._states[rule_id]) for rule_id in self._overwritten if rule_id in self._states])
        self._overwritten.clear()
        for state in self._states.values():
            if state.pending is not None:
                self._tell(state, state.pending, step)
        now = self._clock.monotonic()
        if now >= self._look_due:
            step.state += await self._look()
            self._look_due = self._clock.monotonic() + max(LOOK_EVERY, _SHARE * (self._clock.monotonic() - now))
        return step

    def close(self) -> None:
        """It has no file."""

    def _tell(self, state: AlertState, event: Mapping[str, object], step: Step) -> None:
        """Either the event goes out with this tick; or it went with the last one, which is known by now."""
        event_id = str(event["id"])
        if event_id in self._told:
            step.state.append(self._record(state.model_copy(update={"pending": None})))
            return
        self._told.add(event_id)
        ALERTS_TOLD.labels(str(event["type"])).inc()
        _log.info("alert_told", rule=state.rule_id, event_id=event_id, type=event["type"])
        envelope = decode(orjson.dumps(event), self._events.types)
        step.outputs.append(outgoing(self._events, envelope, key=state.project_id))

    async def _look(self) -> list[Outgoing]:
        """What the rules make of the store; nothing while it, or the log, does not answer."""
        known = self._rules.known()
        if known is None:
            return []
        watched = [rule for rule in known.values() if rule.enabled and rule.deleted_at is None]
        now_ms = self._clock.now_ms()
        found = [record for state in self._states.values() if (record := self._ended(known, state, now_ms)) is not None]
        if not watched:
            return found
        began = self._clock.monotonic()
        try:
            at_ms = await self._reached()
            if at_ms is None:
                return found
            answers = Answers(self._numbers)
            for rule in watched:
                found += await self._judged(rule, at_ms, answers)
        except (LogAway, StoreUnavailable) as error:
            _log.warning("alerts_wait", reason=str(error))
            return found
        ALERTS_LOOKED_AT.set(at_ms / 1000)
        ALERTS_SECONDS.observe(self._clock.monotonic() - began)
        return found

    async def _reached(self) -> int | None:
        """The latest moment up to which every event is in the store; None: the same as at the last look."""
        now_ms = self._clock.now_ms()  # before the ends are asked for: they are behind all that was appended by then
        self._frontier.look(now_ms, await self._positions.ends())
        return self._frontier.reached(await self._positions.stored(self._group))

    async def _judged(self, rule: AlertRule, at_ms: int, answers: MetricReads) -> list[Outgoing]:
        """What the windows since the last look come to, as far as the first thing that is to be told."""
        state, found = self._states.get(rule.id), list[Outgoing]()
        if state is not None and state.pending is not None:
            return found
        for moment in moments(self._last(rule.id), at_ms, rule.window_seconds * 1000):
            before = self._standing(rule.id)
            after = decide(rule, measured(rule, await _seen(rule, moment, answers)), before, moment)
            found += self._moved(rule, after, moment)
            self._looked[rule.id] = moment
            if news(rule, before, after, moment) is not None:
                break
        return found

    def _last(self, rule_id: str) -> int | None:
        """When the rule was judged last: after a restart, when it was written down last."""
        state = self._states.get(rule_id)
        known = None if state is None or state.state == "unknown" else to_ms(state.evaluated_at)
        return self._looked.get(rule_id, known)

    def _standing(self, rule_id: str) -> Standing | None:
        state = self._states.get(rule_id)
        return self._standings.get(rule_id) or (None if state is None else standing_of(state))

    def _moved(self, rule: AlertRule, after: Standing, at_ms: int) -> list[Outgoing]:
        """The record of a look, where it is worth one; what is still to be told is told first, and time goes forward."""
        state = self._states.get(rule.id)
        if state is not None and (state.pending is not None or at_ms <= to_ms(state.evaluated_at)):
            return []
        event = news(rule, self._standing(rule.id), after, at_ms)
        self._standings[rule.id] = after
        if state is not None and event is None and after.state == state.state:
            same = (after.value, after.threshold) == (state.value, state.threshold)
            if same or at_ms - to_ms(state.evaluated_at) < _SHOWN_EVERY_MS:
                return []
        pending = None if event is None else orjson.loads(encode(event))
        shown = AlertState(
            rule_id=rule.id,
            project_id=rule.project_id,
            state=after.state,
            since=to_timestamp(after.since_ms),
            value=after.value,
            threshold=after.threshold,
            episode=after.episode,
            evaluated_at=to_timestamp(at_ms),
            pending=pending,
        )
        return [self._record(shown)]

    def _ended(self, known: Mapping[str, AlertRule], state: AlertState, now_ms: int) -> Outgoing | None:
        """Of a rule that nobody looks at any more: the end of its episode; and nothing, once the rule is forgotten."""
        rule = known.get(state.rule_id)
        if rule is None:
            return tombstone(self._topic, state.rule_id, 0)
        off = not rule.enabled or rule.deleted_at is not None
        if not off or state.state == "unknown":
            return None
        self._looked.pop(rule.id, None)
        return next(iter(self._moved(rule, unwatched(standing_of(state), now_ms), now_ms)), None)

    def _record(self, state: AlertState) -> Outgoing:
        said = derived_id("rec", state.rule_id, state.evaluated_at, state.state, _event_id(state))
        envelope = seal(
            state,
            record_id=said,
            source=SOURCE,
            subject=state.rule_id,
            time_ms=to_ms(state.evaluated_at),
            project_id=state.project_id,
        )
        return outgoing(self._topic, envelope, key=state.rule_id, partition=0)


async def _seen(rule: AlertRule, at_ms: int, answers: MetricReads) -> Seen:
    asked = question(rule, at_ms)
    return seen_by(rule, asked, await answers.metrics(rule.project_id, asked))


def _event_id(state: AlertState) -> str:
    return "" if state.pending is None else str(state.pending["id"])
