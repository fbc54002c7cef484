"""Rotation, step by step: no moment without a key that works, none with more rights than before (R13)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from chassis.log import LogUnavailable
from chassis.table import ANSWER_AFTER
from schemas.envelope import to_timestamp
from schemas.tables import ApiKey
from services.ingest.domain.access import Caller, caller_of
from services.ingest.domain.faults import Refused
from services.ingest.domain.keys import KeyEnvironment, hash_of
from services.ingest.domain.pages import PageRequest
from services.ingest.management.keys import ManageKeys
from tests.unit.ingest.stand_ins import Directory, HandClock

CLOCK_START = HandClock().ms
HOUR_MS = 3_600_000


def row(name: str, environment: KeyEnvironment = "live", expires_at: str | None = None) -> ApiKey:
    return ApiKey(
        id=f"key_{name}",
        project_id="prj_1",
        name=name,
        environment=environment,
        sha256=hash_of(name),
        scopes=["*"],
        requests_per_minute=77,
        created_at="2026-01-01T00:00:00.000Z",
        revoked_at=None,
        expires_at=expires_at,
        from_domains=["shop.example"],
        networks=["192.0.2.0/24"],
    )


@dataclass(slots=True)
class Rows:
    """The port `ApiKeys`; every put after `puts_that_work` fails."""

    rows: dict[str, ApiKey]
    puts_that_work: int = 99
    written: list[ApiKey] = field(default_factory=list)

    def get(self, project_id: str, key: str) -> ApiKey | None:
        found = self.rows.get(key)
        return found if found is not None and found.project_id == project_id else None

    def anyones(self, key: str) -> ApiKey | None:
        return self.rows.get(key)

    def page(self, project_id: str, page: PageRequest) -> tuple[Sequence[ApiKey], str | None]:
        raise NotImplementedError

    async def put(self, key: str, entity: ApiKey) -> None:
        if len(self.written) >= self.puts_that_work:
            raise LogUnavailable("away")
        self.rows[key] = entity
        self.written.append(entity)

    async def remove(self, key: str) -> None:
        raise NotImplementedError


class NeverUsed:
    """The port `KeyUsage`."""

    def used(self, caller: Caller) -> None:
        raise NotImplementedError

    def last_used(self, key_id: str) -> str | None:
        return None


@dataclass(slots=True)
class Stage:
    rows: Rows
    clock: HandClock = field(default_factory=HandClock)

    @property
    def keys(self) -> ManageKeys:
        return ManageKeys(self.clock, self.rows, Directory(), NeverUsed())


def stage(*rows: ApiKey) -> Stage:
    return Stage(Rows({found.id: found for found in rows}))


async def test_the_new_key_is_there_before_the_old_one_ends() -> None:
    old = row("old")
    there = stage(old)
    made = await there.keys.rotate(caller_of(old), "key_old", {"overlap": "1h"})
    new, ended = there.rows.written
    assert (new.id, ended.id) == (made["id"], "key_old")
    assert new.sha256 == hash_of(made["key"]) != old.sha256
    kept = {"name", "environment", "scopes", "from_domains", "networks", "expires_at", "requests_per_minute"}
    assert new.model_dump(include=kept) == old.model_dump(include=kept)
    assert (ended.expires_at, ended.revoked_at) == (to_timestamp(CLOCK_START + HOUR_MS), None)
    assert there.clock.ms - CLOCK_START >= 2 * ANSWER_AFTER * 1000  # each step holds everywhere before the next


async def test_without_an_overlap_the_old_key_is_revoked() -> None:
    """An expiry would be judged by the clock of each replica."""
    old = row("old")
    there = stage(old)
    await there.keys.rotate(caller_of(old), "key_old", {"overlap": "0"})
    assert there.rows.rows["key_old"].revoked_at is not None


async def test_a_rotation_makes_no_key_live_longer() -> None:
    soon = to_timestamp(CLOCK_START + 60_000)
    old = row("old", expires_at=soon)
    there = stage(old)
    await there.keys.rotate(caller_of(old), "key_old", {"overlap": "30d"})
    assert [written.expires_at for written in there.rows.written] == [soon, soon]


async def test_a_rotation_that_breaks_off_leaves_the_old_key_as_it_was() -> None:
    old = row("old")
    for works in (0, 1):
        there = stage(old)
        there.rows.puts_that_work = works
        with pytest.raises(LogUnavailable):
            await there.keys.rotate(caller_of(old), "key_old", {"overlap": "0"})
        assert there.rows.rows["key_old"] == old


async def test_admin_keys_rotate_admin_keys() -> None:
    admin = row("admin", "admin")
    made = await stage(admin).keys.rotate(caller_of(admin), "key_admin", {})
    assert made["key"].startswith("sk_admin_")


async def test_what_has_ended_is_not_rotated() -> None:
    live = row("live")
    for ended in (
        row("old", expires_at=to_timestamp(CLOCK_START)),
        row("old").model_copy(update={"revoked_at": to_timestamp(CLOCK_START)}),
    ):
        there = stage(live, ended)
        with pytest.raises(Refused) as refused:
            await there.keys.rotate(caller_of(row("admin", "admin")), "key_old", {})
        assert refused.value.code == "invalid_api_key"  # the asking key is gone, too: nothing is decided by what it was
        with pytest.raises(Refused) as refused:
            await there.keys.rotate(caller_of(live), "key_old", {})
        assert [fault.code for fault in refused.value.faults] == ["not_active"]
        assert there.rows.written == []
