"""Nobody gets in by a table that may be old, and a change is answered once it holds everywhere (R11, R13, R14)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from chassis.table import ANSWER_AFTER
from schemas.envelope import to_timestamp
from schemas.events import SuppressionAdded
from schemas.tables import ApiKey, Suppression
from services.ingest.adapters.rate_limits import MemoryRateLimits
from services.ingest.admission import ANONYMOUS_PER_MINUTE, Admission, TooMany, check
from services.ingest.domain.access import Caller, KnownKey, known_key_of
from services.ingest.domain.faults import Refused
from services.ingest.domain.keys import hash_of, new_key
from services.ingest.domain.pages import PageRequest
from services.ingest.management.keys import ManageKeys
from services.ingest.management.suppressions import ManageSuppressions
from services.ingest.ports import Allowance
from tests.unit.ingest.stand_ins import Directory, HandClock

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

    def by_hash(self, sha256: str) -> KnownKey | None:
        return known_key_of(self.row) if self.row is not None and self.row.sha256 == sha256 else None

    def per_minute(self, caller: Caller) -> int:
        return caller.requests_per_minute or 1000


@dataclass(slots=True)
class Usage:
    """The port `KeyUsage`."""

    noted: list[str] = field(default_factory=list)

    def used(self, caller: Caller) -> None:
        self.noted.append(caller.key_id)

    def last_used(self, key_id: str) -> str | None:
        return None


@dataclass(slots=True)
class Shared:
    """The port `SharedRateLimits`, which may be away."""

    away: bool = False
    taken: list[tuple[str, int]] = field(default_factory=list)

    async def take(self, bucket: str, per_minute: int) -> Allowance | None:
        self.taken.append((bucket, per_minute))
        return None if self.away else Allowance(allowed=True, limit=per_minute, remaining=7, reset_at=1)


ANYWHERE = "192.0.2.1"


def admission(
    lease: Lease | None = None,
    row: ApiKey | None = ROW,
    replicas: int = 1,
    usage: Usage | None = None,
    shared: Shared | None = None,
) -> Admission:
    clock = HandClock()
    return Admission(
        clock,
        lease or Lease(),
        KeyTable(row),
        usage or Usage(),
        MemoryRateLimits(clock),
        replicas=replicas,
        shared=shared,
    )


async def refused(gate: Admission, key: str, address: str = ANYWHERE) -> Refused:
    with pytest.raises(Refused) as found:
        await gate.authenticate(f"Bearer {key}", address)
    return found.value


async def test_a_good_key() -> None:
    usage = Usage()
    assert await admission(usage=usage).authenticate(f"Bearer {KEY}", ANYWHERE) == CALLER
    assert usage.noted == ["key_1"]


async def test_a_table_that_may_be_old_lets_nobody_in() -> None:
    """The key is there and good, but a revocation might have been missed."""
    found = await refused(admission(Lease(fresh=False)), KEY)
    assert (found.status, found.retry_after is not None) == (503, True)


async def test_a_malformed_key_is_not_looked_up() -> None:
    assert (await refused(admission(Lease(fresh=False)), "sk_live_x")).status == 401


NOW = HandClock().ms
EXPIRED = ROW.model_copy(update={"expires_at": to_timestamp(NOW)})
REVOKED = ROW.model_copy(update={"revoked_at": "2026-01-02T00:00:00.000Z"})


@pytest.mark.parametrize("row", [None, REVOKED, EXPIRED])
async def test_unknown_revoked_and_expired_keys_look_the_same(row: ApiKey | None) -> None:
    usage = Usage()
    found = await refused(admission(row=row, usage=usage), KEY)
    assert (found.status, found.code, found.message) == (401, "invalid_api_key", "This API key is not valid.")
    assert usage.noted == []


async def test_a_key_works_until_it_expires() -> None:
    row = ROW.model_copy(update={"expires_at": to_timestamp(NOW + 1)})
    assert await admission(row=row).authenticate(f"Bearer {KEY}", ANYWHERE) == CALLER


async def test_a_key_of_some_networks() -> None:
    """R13: elsewhere it is 403, and does not count as a use."""
    row, usage = ROW.model_copy(update={"networks": ["192.0.2.0/24", "2001:db8::/32"]}), Usage()
    gate = admission(row=row, usage=usage)
    for address in ("192.0.2.200", "2001:db8::1", "::ffff:192.0.2.7"):
        assert (await gate.authenticate(f"Bearer {KEY}", address)).key_id == "key_1"
    for address in ("192.0.3.1", "2001:db9::1", "unknown", ""):
        found = await refused(gate, KEY, address)
        assert (found.status, found.code) == (403, "address_not_allowed")
    assert len(usage.noted) == 3


async def test_networks_that_can_not_be_read_let_nobody_in() -> None:
    row = ROW.model_copy(update={"networks": ["everywhere"]})
    assert (await refused(admission(row=row), KEY)).code == "address_not_allowed"


async def test_each_replica_grants_its_part() -> None:
    assert (await admission(replicas=5).count(CALLER)).limit == 2
    assert (await admission(replicas=100).count(CALLER)).limit == 1


async def test_two_replicas_grant_a_limit_together() -> None:
    """R14: 1,500 requests spread over two replicas that know nothing of each other; 1,000 a minute are granted."""
    caller = Caller("prj_1", "key_1", "live", ("*",), None)
    replicas = [admission(replicas=2), admission(replicas=2)]
    allowed = [(await replicas[n % 2].count(caller)).allowed for n in range(1500)]
    assert 950 <= sum(allowed) <= 1050


async def test_shared_counters_count_the_whole_limit() -> None:
    shared = Shared()
    allowance = await admission(replicas=5, shared=shared).count(CALLER)
    assert (allowance.limit, allowance.remaining, shared.taken) == (10, 7, [("key:key_1", 10)])


async def test_while_shared_counters_are_away_each_grants_its_part() -> None:
    gate = admission(replicas=5, shared=Shared(away=True))
    assert [(await gate.count(CALLER)).allowed for _ in range(3)] == [True, True, False]


def test_strangers_of_one_network_are_one() -> None:
    """R14, D81: an IPv6 subscriber has 2**64 addresses, and one limit; strangers are never counted where replicas share."""
    shared = Shared()
    gate = admission(shared=shared)
    for number in range(ANONYMOUS_PER_MINUTE):
        assert gate.count_stranger(f"2001:db8:1:2::{number:x}").allowed
    assert not gate.count_stranger("2001:db8:1:2:ffff::").allowed
    assert gate.look("2001:db8:1:2::9").remaining == 0
    assert gate.count_stranger("2001:db8:1:3::1").allowed
    assert gate.count_stranger("192.0.2.1").remaining == ANONYMOUS_PER_MINUTE - 1
    assert gate.count_stranger("192.0.2.2").remaining == ANONYMOUS_PER_MINUTE - 1
    assert gate.count_stranger("::ffff:192.0.2.1").remaining == ANONYMOUS_PER_MINUTE - 2
    assert shared.taken == []


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

    def anyones(self, key: str) -> object | None:
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
    await ManageKeys(clock, puts, Directory(), Usage()).revoke(CALLER, "key_1")  # type: ignore[arg-type]  # holds any kind of row
    row = puts.rows["key_1"]
    assert isinstance(row, ApiKey)
    assert row.revoked_at is not None
    assert clock.ms - puts.put_at_ms >= ANSWER_AFTER * 1000
    answered = clock.ms
    await ManageKeys(clock, puts, Directory(), Usage()).revoke(CALLER, "key_1")  # type: ignore[arg-type]  # as above
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


async def test_who_listens_on_is_looked_at_again_R13() -> None:
    """A key that was revoked, has expired or is gone; and all of them where a revocation might have been missed."""
    clock, lease, table = HandClock(), Lease(), KeyTable()
    admission = Admission(clock, lease, table, Usage(), MemoryRateLimits(clock), replicas=1)
    digest = hash_of(KEY)
    assert await admission.lapsed({digest}) == set()
    assert await admission.lapsed({digest, "another"}) == {"another"}
    table.row = ROW.model_copy(update={"expires_at": to_timestamp(clock.ms + 1)})
    assert await admission.lapsed({digest}) == set()
    clock.ms += 2
    assert await admission.lapsed({digest}) == {digest}
    table.row = ROW.model_copy(update={"revoked_at": "2026-01-01T00:00:00.000Z"})
    assert await admission.lapsed({digest}) == {digest}
    table.row, lease.fresh = ROW, False
    assert await admission.lapsed({digest}) == {digest}
