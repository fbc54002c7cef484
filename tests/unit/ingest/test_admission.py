"""Nobody gets in by a table that may be old, and a change is answered once it holds everywhere (R11, R13, R14)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from chassis.table import ANSWER_AFTER
from schemas.events import SuppressionAdded
from schemas.tables import ApiKey, Suppression
from services.ingest.adapters.rate_limits import MemoryRateLimits
from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Refused
from services.ingest.domain.keys import hash_of, new_key
from services.ingest.domain.pages import PageRequest
from services.ingest.handlers import Admission, TooMany, check
from services.ingest.management.keys import ManageKeys
from services.ingest.management.suppressions import ManageSuppressions
from services.ingest.ports import Allowance
from tests.unit.ingest.stand_ins import HandClock

KEY = new_key("live")
ROW = ApiKey(
    id="key_1",
    project_id="prj_1",
    name="shop",
    environment="live",
    sha256=hash_of(KEY),
    scopes=["*"],
    requests_per_minute=10,
    created_at="2026-01-01T00:00:00.000Z",
    revoked_at=None,
)
CALLER = Caller("prj_1", "key_1", "live", ("*",), 10)


@dataclass(slots=True)
class Lease:
    """The port `Freshness`."""

    fresh: bool = True

    async def wait_fresh(self) -> bool:
        return self.fresh


@dataclass(slots=True)
class KeyTable:
    """The port `Keys`."""

    row: ApiKey | None = ROW

    def by_hash(self, sha256: str) -> ApiKey | None:
        return self.row if self.row is not None and self.row.sha256 == sha256 else None


def admission(lease: Lease | None = None, row: ApiKey | None = ROW, replicas: int = 1) -> Admission:
    return Admission(lease or Lease(), KeyTable(row), MemoryRateLimits(HandClock()), replicas=replicas)


async def refused(gate: Admission, key: str) -> Refused:
    with pytest.raises(Refused) as found:
        await gate.authenticate(f"Bearer {key}")
    return found.value


async def test_a_good_key() -> None:
    assert await admission().authenticate(f"Bearer {KEY}") == CALLER


async def test_a_table_that_may_be_old_lets_nobody_in() -> None:
    """The key is there and good, but a revocation might have been missed."""
    found = await refused(admission(Lease(fresh=False)), KEY)
    assert (found.status, found.retry_after is not None) == (503, True)


async def test_a_malformed_key_is_not_looked_up() -> None:
    assert (await refused(admission(Lease(fresh=False)), "sk_live_x")).status == 401


@pytest.mark.parametrize("row", [None, ROW.model_copy(update={"revoked_at": "2026-01-02T00:00:00.000Z"})])
async def test_unknown_and_revoked_keys_look_the_same(row: ApiKey | None) -> None:
    found = await refused(admission(row=row), KEY)
    assert (found.code, found.message) == ("invalid_api_key", "This API key is not valid.")


def test_each_replica_grants_its_part() -> None:
    assert admission(replicas=5).count(CALLER).limit == 2
    assert admission(replicas=100).count(CALLER).limit == 1


def test_429_says_when() -> None:
    with pytest.raises(TooMany) as found:
        check(CALLER, Allowance(allowed=False, limit=1, remaining=0, reset_at=107), "messages.send", 100)
    assert (found.value.status, found.value.retry_after) == (429, 7)


@dataclass(slots=True)
class Puts:
    """The port `Entities`, which notes when it was written to."""

    clock: HandClock
    rows: dict[str, object] = field(default_factory=dict)
    put_at_ms: int = 0

    def get(self, project_id: str, key: str) -> object | None:
        return self.rows.get(key)

    def page(self, project_id: str, page: PageRequest) -> tuple[Sequence[object], str | None]:
        return list(self.rows.values()), None

    async def put(self, key: str, entity: object) -> None:
        self.rows[key] = entity
        self.put_at_ms = self.clock.ms

    async def remove(self, key: str) -> None:
        del self.rows[key]


@dataclass(slots=True)
class Published:
    """The port `AccountEvents`; publishing takes a tenth of a second."""

    clock: HandClock
    events: list[tuple[str, str]] = field(default_factory=list)

    async def publish(self, project_id: str, event_id: str, subject: str, change: object, time_ms: int) -> None:
        self.clock.ms += 100
        self.events.append((event_id, getattr(change, "TYPE", "")))


async def test_a_revocation_is_answered_when_every_lease_on_the_old_table_is_over() -> None:
    clock = HandClock()
    puts = Puts(clock, {"key_1": ROW})
    await ManageKeys(clock, puts).revoke(CALLER, "key_1")  # type: ignore[arg-type]  # holds any kind of row
    row = puts.rows["key_1"]
    assert isinstance(row, ApiKey)
    assert row.revoked_at is not None
    assert clock.ms - puts.put_at_ms >= ANSWER_AFTER * 1000
    answered = clock.ms
    await ManageKeys(clock, puts).revoke(CALLER, "key_1")  # type: ignore[arg-type]  # as above
    assert clock.ms - answered >= ANSWER_AFTER * 1000  # the first may have been a moment ago, at another replica


async def test_a_suppression_is_answered_when_every_lease_on_the_old_table_is_over() -> None:
    clock = HandClock()
    puts, published = Puts(clock), Published(clock)
    manage = ManageSuppressions(clock, puts, published)  # type: ignore[arg-type]  # holds any kind of row
    first = await manage.add(CALLER, {"recipient": "A@b.example"})
    assert clock.ms - puts.put_at_ms == round(ANSWER_AFTER * 1000)
    again = await manage.add(CALLER, {"recipient": "a@b.example"})
    assert again == first
    (row,) = puts.rows.values()
    assert isinstance(row, Suppression)
    # A repeat, as after a 503, publishes the same event again.
    assert published.events == [published.events[0]] * 2
    assert published.events[0][1] == SuppressionAdded.TYPE
