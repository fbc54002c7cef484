"""A replay is asked for: its record first, the newest hundred kept, none that nobody carries out (R31)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from chassis.log import LogUnavailable
from schemas.envelope import to_timestamp
from schemas.tables import WebhookEndpoint
from schemas.webhooks import ReplayState, WebhookReplay, WebhookTest
from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Refused
from services.ingest.domain.pages import PageRequest
from services.ingest.management.replays import MOST_KEPT, ManageReplays

NOW_MS = 1_790_000_000_123
CALLER = Caller("prj_1", "key_1", "live", ("*",), 1000)
ENDPOINT = WebhookEndpoint(
    id="whk_1", project_id="prj_1", url="https://example.com/hooks", events=["*"], tags=[], description=None,
    sealed_secret="s0", created_at=to_timestamp(NOW_MS),
)  # fmt: skip
WINDOW = {"since": to_timestamp(NOW_MS - 1000)}


@dataclass(slots=True)
class World:
    """One endpoint, its replays, the commands, and a clock."""

    endpoint: WebhookEndpoint = ENDPOINT
    reachable: bool = True
    kept: dict[str, ReplayState] = field(default_factory=dict)
    sent: list[WebhookTest | WebhookReplay] = field(default_factory=list)
    ms: int = NOW_MS

    def managed(self) -> ManageReplays:
        return ManageReplays(self, lambda bits: self.ms, self, self, self)  # type: ignore[arg-type]  # of the endpoints only `own`

    def own(self, caller: Caller, endpoint_id: str) -> WebhookEndpoint:
        return self.endpoint

    def get(self, endpoint_id: str, key: str) -> ReplayState | None:
        return self.kept.get(key)

    def page(self, endpoint_id: str, page: PageRequest) -> tuple[Sequence[ReplayState], str | None]:
        newest = sorted(self.kept.values(), key=lambda state: state.created_at, reverse=True)
        return newest[: page.limit], None

    async def put(self, key: str, entity: ReplayState) -> None:
        self.kept[key] = entity

    async def remove(self, key: str) -> None:
        del self.kept[key]

    async def send(self, project_id: str, record_id: str, command: WebhookTest | WebhookReplay, time_ms: int) -> None:
        assert record_id in self.kept, "who carries it out may be quicker than its record"
        if not self.reachable:
            raise LogUnavailable("no ack")
        self.sent.append(command)

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    async def sleep(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)


async def test_it_is_kept_before_it_is_asked_for_and_shown_as_it_stands() -> None:
    world = World()
    made = await world.managed().create(CALLER, "whk_1", WINDOW)
    assert (made["object"], made["status"], made["matched"], made["finished_at"]) == ("replay", "queued", 0, None)
    assert [command.webhook_id for command in world.sent] == ["whk_1"]
    done = world.kept[made["id"]].model_copy(update={"status": "failed", "reason": "too_many_failed"})
    world.kept[made["id"]] = done
    assert world.managed().show(CALLER, "whk_1", made["id"]) == {
        **made,
        "status": "failed",
        "reason": "too_many_failed",
    }


async def test_what_could_not_be_asked_for_is_not_shown_as_queued_for_ever() -> None:
    world = World(reachable=False)
    with pytest.raises(LogUnavailable):
        await world.managed().create(CALLER, "whk_1", WINDOW)
    assert world.kept == {}


async def test_the_newest_hundred_are_kept() -> None:
    world = World()
    made = [
        (await world.managed().create(CALLER, "whk_1", {"since": to_timestamp(world.ms - 1)}))["id"]
        for _ in range(MOST_KEPT + 2)
    ]
    assert list(world.kept) == made[2:]


async def test_a_disabled_endpoint_gets_none() -> None:
    world = World(endpoint=ENDPOINT.model_copy(update={"disabled_at": to_timestamp(NOW_MS)}))
    with pytest.raises(Refused):
        await world.managed().create(CALLER, "whk_1", WINDOW)
    assert (world.kept, world.sent) == ({}, [])
