"""The owner of alert-states (R34): whoever dies at whatever step, an episode is told once, with one content."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import orjson
import pytest

from chassis.log import Incoming, Outgoing
from chassis.partition_owner import Tenure
from schemas.alerts import AlertRule, AlertState
from schemas.envelope import decode
from schemas.topics import TOPICS
from services.analytics.alerting import LOOK_EVERY, Alerting
from services.analytics.domain.cursors import Positions
from services.analytics.domain.metrics import COUNTS, RATES, MetricsQuery, MetricsRow
from services.analytics.ports import LogAway, StoreUnavailable

STATES, EVENTS = TOPICS["alert-states"], TOPICS["account-events"]
TENURE = Tenure(0, 2**62)
AT = "2026-01-01T00:00:00.000Z"
RULE = AlertRule.model_validate(
    {
        "id": "alr_1", "project_id": "prj_1", "name": "bounces", "version": 1, "created_at": AT, "updated_at": AT,
        "updated_by": "key_1", "measure": "bounced", "window_seconds": 60, "condition": {"above": 5}, "minimum": 0,
    }
)  # fmt: skip


@dataclass(slots=True)
class World:
    """The clock, the log and what is in the store; the ports of all owners there are, one after the other."""

    ms: int = 1_790_000_000_000
    bounced: int = 0
    bursts: range = range(0)
    rules: dict[str, AlertRule] | None = field(default_factory=lambda: {RULE.id: RULE})
    inserted: int | None = 1  # None: Kafka does not say
    store_is_up: bool = True
    questions: int = 0
    log: list[Incoming] = field(default_factory=list)
    told: list[Outgoing] = field(default_factory=list)

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    async def sleep(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)

    def known(self) -> Mapping[str, AlertRule] | None:
        return self.rules

    async def metrics(self, project_id: str, query: MetricsQuery) -> list[MetricsRow]:
        if not self.store_is_up:
            raise StoreUnavailable
        self.questions += 1
        burst = any(query.since_ms <= ms < query.until_ms for ms in self.bursts[::1000])
        counts = dict.fromkeys(COUNTS, 0) | {"bounced": 99 if burst else self.bounced}
        return [MetricsRow(query.starts[-1], (), counts, dict.fromkeys(RATES, 0), None, None)]

    async def ends(self) -> Positions:
        if self.inserted is None:
            raise LogAway
        return {("events", 0): 1}

    async def beginnings(self) -> Positions:
        return {("events", 0): 0}

    async def members(self, group: str) -> int:
        return 1

    async def stop(self) -> None:
        pass

    async def stored(self, group: str) -> Positions:
        return {("events", 0): self.inserted or 0}

    def owner(self) -> Alerting:
        """A new one, restored from the log."""
        view = Alerting(STATES, EVENTS, self, self, self, self, group="analytics")
        for record in self.log:
            view.apply(record)
        return view

    async def step(self, view: Alerting, *, dies: str = "") -> None:
        """A tick as the partition's owner carries it out: 1 the state, read back; 2 the outputs."""
        made = await view.tick(TENURE)
        if dies == "before":
            return
        for record in made.state:
            self.append(record, view)
        if dies != "between":
            self.told += made.outputs

    def append(self, record: Outgoing, view: Alerting) -> None:
        self.log.append(Incoming(record.topic, 0, len(self.log), self.ms, record.key, record.value, ()))
        view.apply(self.log[-1])

    async def run(self, view: Alerting, seconds: int) -> None:
        for _ in range(10 * seconds):
            self.ms += 100
            await self.step(view)

    def events(self) -> list[tuple[str, int]]:
        found = [decode(record.value, EVENTS.types) for record in self.told]
        return [(event.type, event.data.episode) for event in found]  # type: ignore[attr-defined]

    def state(self) -> AlertState:
        found = decode(self.log[-1].value, STATES.types).data
        assert isinstance(found, AlertState)
        return found


RAISED, RESOLVED = ("alert.raised", 1), ("alert.resolved", 1)


async def test_raised_and_resolved_once_with_one_owner() -> None:
    world = World()
    view = world.owner()
    await world.run(view, 5)
    assert (world.events(), world.state().state) == ([], "ok")
    world.bounced = 6
    await world.run(view, 30)
    assert (world.events(), world.state().state, world.state().value) == ([RAISED], "raised", 6)
    world.bounced = 0
    await world.run(view, 55)
    assert world.events() == [RAISED]
    await world.run(view, 10)
    assert (world.events(), world.state().state) == ([RAISED, RESOLVED], "ok")
    assert world.state().pending is None
    assert len(world.log) < 20, "a look that changes nothing is no record"


@pytest.mark.parametrize("dies", ["before", "between", "after"])
async def test_an_owner_that_dies_at_any_step_is_followed_by_one_that_tells_the_same(dies: str) -> None:
    """Each look and each telling is the last one of its owner; what was decided stays, whatever the numbers are by then."""
    world = World(bounced=6)
    bounced = [6, 7, 6, 8, 9, 6, 7, 8]
    for world.bounced in bounced:
        world.ms += round(LOOK_EVERY * 1000)
        await world.step(world.owner(), dies=dies)
    await world.run(world.owner(), 5)
    contents = {orjson.loads(record.value or b"")["id"]: record.value for record in world.told}
    assert set(world.events()) == {RAISED}
    assert {record.value for record in world.told} == set(contents.values()), "one id, one content"
    if dies != "after":
        assert world.events() == [RAISED]
    world.bounced = 0
    await world.run(world.owner(), 70)
    assert (world.events()[-1], world.events().count(RESOLVED)) == (RESOLVED, 1)


async def test_nothing_is_concluded_from_a_store_that_lags_or_is_away() -> None:
    world = World(bounced=6)
    view = world.owner()
    for lack in ({"inserted": 0}, {"inserted": None}, {"store_is_up": False}, {"rules": None}):
        for name, value in lack.items():
            setattr(world, name, value)
        await world.run(view, 10)
        assert (world.log, world.told) == ([], [])
        world.inserted, world.store_is_up, world.rules = 1, True, {RULE.id: RULE}
    await world.run(view, 5)
    assert world.events() == [RAISED]


async def test_what_came_and_went_while_the_store_was_away_is_told_when_it_is_back() -> None:
    """Three minutes: the burst was in the second one."""
    world = World()
    view = world.owner()
    await world.run(view, 5)
    world.store_is_up = False
    world.ms += 60_000
    world.bursts = range(world.ms, world.ms + 30_000)
    world.ms += 120_000
    world.store_is_up = True
    await world.run(view, 5)
    assert (world.events(), world.state().since) == ([RAISED], "2026-09-21T14:15:24.100Z")
    await world.run(view, 70)
    assert world.events() == [RAISED, RESOLVED]


async def test_a_rule_that_is_switched_off_ends_its_alert_and_one_that_is_forgotten_leaves_no_state() -> None:
    world = World(bounced=6)
    view = world.owner()
    await world.run(view, 5)
    world.rules = {RULE.id: RULE.model_copy(update={"enabled": False})}
    await world.run(view, 5)
    assert (world.events(), world.state().state) == ([RAISED, RESOLVED], "unknown")
    world.rules = {RULE.id: RULE}
    await world.run(view, 5)
    assert world.events() == [RAISED, RESOLVED, ("alert.raised", 2)]
    world.rules = {RULE.id: RULE.model_copy(update={"deleted_at": AT})}
    await world.run(view, 5)
    assert world.events()[-1] == ("alert.resolved", 2)
    world.rules = {}
    await world.run(view, 5)
    assert world.log[-1].value is None


async def test_what_an_earlier_owner_lands_late_is_put_right() -> None:
    """Behind a newer one it counts for nobody; and compaction keeps a key's last record, so that must be the true one."""
    world = World()
    view = world.owner()
    await world.run(view, 3)
    late = replace(world.log[-1], offset=99)
    world.bounced = 6
    await world.run(view, 5)
    world.log.append(late)
    await world.run(world.owner(), 3)
    assert world.state().state == "raised"
    world.log = world.log[-1:]
    await world.run(world.owner(), 10)
    assert world.events() == [RAISED]


async def test_rules_with_one_window_and_the_same_filters_ask_the_store_once_and_are_judged_each_by_its_own_measure() -> (
    None
):
    def rule(name: str, **differing: object) -> AlertRule:
        return AlertRule.model_validate({**RULE.model_dump(), "id": name, **differing})

    tagged, longer = {"tag": "otp"}, {"window_seconds": 120}
    alike = [
        rule("alr_2", condition={"above": 500}),
        rule("alr_3", measure="complained"),
        rule("alr_4", filters=tagged),
    ]
    others = [rule("alr_5", filters=tagged), rule("alr_6", **longer), rule("alr_7", project_id="prj_2")]
    world = World(bounced=9, rules={each.id: each for each in (RULE, *alike, *others)})
    await world.step(world.owner())
    assert world.questions == 4
    states = [decode(record.value, STATES.types).data for record in world.log]
    raised = {state.rule_id for state in states if state.state == "raised"}  # type: ignore[attr-defined]  # of this type
    assert raised == {"alr_1", "alr_4", "alr_5", "alr_6", "alr_7"}
