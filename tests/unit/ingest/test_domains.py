"""Sender domains: what is asked for, what DNS is held against, and the daily look (R26, R50)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.fernet import Fernet

from chassis.log import LogUnavailable
from chassis.sealing import Seals, WrongSealingKey
from schemas.envelope import to_timestamp
from schemas.tables import DkimKey, Domain, DomainRecord, RecordStatus
from services.ingest.domain.access import Caller
from services.ingest.domain.domains import (
    MAX_FOUND,
    Looked,
    checked,
    domain_shown,
    judged,
    read_domain,
    records_of,
    selector_of,
)
from services.ingest.domain.faults import Refused
from services.ingest.domain.pages import PageRequest
from services.ingest.management.domains import ManageDomains
from services.ingest.ports import Algorithm, KeyPair

DAY_MS = 24 * 60 * 60 * 1000
NOW_MS = 1_790_000_000_000
KEY = DkimKey(selector="sx1r", algorithm="rsa", public_key="MIIB+/=", sealed_private_key="sealed")
DKIM, SPF, RETURN_PATH, DMARC = records_of("shop.example", [KEY], "mail.example.net")
CALLER = Caller("prj_1", "key_1", "live", ("*",), None)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({}, ("domain", "required")),
        ({"domain": 7}, ("domain", "invalid_type")),
        ({"domain": "a b.example"}, ("domain", "invalid_value")),
        ({"domain": "x@shop.example"}, ("domain", "invalid_value")),
        ({"domain": "Shop <x>"}, ("domain", "invalid_value")),
        ({"domain": "shop.example", "ed25519": "yes"}, ("ed25519", "invalid_type")),
        ({"domain": "shop.example", "selector": "x"}, ("selector", "unknown_field")),
    ],
)
def test_what_is_refused(body: dict[str, Any], fault: tuple[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        read_domain(body)
    assert [(found.field, found.code) for found in refused.value.faults] == [fault]


def test_a_domain_is_kept_as_senders_are_compared() -> None:
    assert read_domain({"domain": "BÜCHER.example"}).domain == "xn--bcher-kva.example"
    assert read_domain({"domain": "shop.example"}).ed25519 is False


def test_selectors_belong_to_one_entry_of_one_project() -> None:
    names = {selector_of(entry, algorithm) for entry in ("dom_1", "dom_2") for algorithm in ("rsa", "ed25519")}
    assert len(names) == 4


@pytest.mark.parametrize(
    ("record", "texts", "status"),
    [
        (DKIM, ["v=DKIM1; k=rsa; p=MIIB+/="], "found"),
        (DKIM, ["p=MII B+/=;"], "found"),
        (DKIM, ["other", "k=rsa;p=MIIB+/="], "found"),
        (DKIM, ["v=DKIM1; k=rsa; p=MIIB"], "wrong"),
        (DKIM, ["v=DKIM1; k=rsa; p="], "wrong"),
        (DKIM, ["v=DKIM1; k=ed25519; p=MIIB+/="], "wrong"),
        (DKIM, [], "missing"),
        (DKIM, None, "unknown"),
        (SPF, ["v=spf1 include:spf.mail.example.net ~all"], "found"),
        (SPF, ["x=y", "V=SPF1 a +include:SPF.mail.example.net -all"], "found"),
        (SPF, ["v=spf1 -all"], "wrong"),
        (SPF, ["v=spf1 -include:spf.mail.example.net ~all"], "wrong"),
        (SPF, ["v=spf1 include:spf.mail.example.net ~all", "v=spf1 -all"], "wrong"),
        (SPF, ["v=spf10 include:spf.mail.example.net"], "missing"),
        (RETURN_PATH, ["Bounces.mail.example.net."], "found"),
        (RETURN_PATH, ["elsewhere.example."], "wrong"),
        (DMARC, ["v=DMARC1; p=reject; rua=mailto:x@shop.example"], "found"),
        (DMARC, ["v=DMARC1; rua=mailto:x@shop.example"], "wrong"),
        (DMARC, ["v=DMARC1; p=none", "v=DMARC1; p=reject"], "wrong"),
        (DMARC, ["hello"], "missing"),
    ],
)
def test_what_stands_in_dns_is_judged(record: DomainRecord, texts: list[str] | None, status: RecordStatus) -> None:
    assert judged(record, Looked(texts)).status == status


def test_what_is_shown_of_others_texts_is_bounded() -> None:
    found = judged(DKIM, Looked(["x" * 10_000] * 100)).found
    assert (len(found), max(map(len, found))) == (MAX_FOUND, 600)


def domain(**changes: Any) -> Domain:
    entry = Domain(
        id="dom_1",
        project_id="prj_1",
        domain="shop.example",
        verified_at=None,
        created_at=to_timestamp(NOW_MS),
        dkim_keys=[KEY],
        records=[DKIM, SPF],
    )
    return entry.model_copy(update=changes)


@pytest.mark.parametrize(
    ("before", "dkim", "after"),
    [
        (None, "found", "now"),
        ("then", "found", "then"),
        ("then", "missing", None),
        ("then", "wrong", None),
        ("then", "unknown", "then"),
        (None, "unknown", None),
    ],
)
def test_only_the_keys_verify_and_silence_changes_nothing(
    before: str | None, dkim: RecordStatus, after: str | None
) -> None:
    records = [DKIM.model_copy(update={"status": dkim}), SPF.model_copy(update={"status": "missing"})]
    assert checked(domain(verified_at=before), records, "now").verified_at == after


def test_an_entry_without_records_is_never_verified_by_a_look() -> None:
    assert checked(domain(), [], "now").verified_at is None


def test_no_private_key_is_shown() -> None:
    assert "sealed" not in str(domain_shown(domain()))


@dataclass(slots=True)
class World:
    """Everything around the use case: a table, DNS, and a clock that stands."""

    entries: dict[str, Domain] = field(default_factory=dict)
    texts: dict[str, Sequence[str] | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    now: int = NOW_MS
    log_is_away: bool = False
    removed_meanwhile: bool = False

    def now_ms(self) -> int:
        return self.now

    def monotonic(self) -> float:
        return self.now / 1000

    async def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1000)

    def get(self, project_id: str, key: str) -> Domain | None:
        found = self.entries.get(key)
        return found if found is not None and found.project_id == project_id else None

    def by_id(self, project_id: str, domain_id: str) -> Domain | None:
        return next(
            (entry for entry in self.entries.values() if (entry.project_id, entry.id) == (project_id, domain_id)), None
        )

    def count(self, project_id: str) -> int:
        return sum(entry.project_id == project_id for entry in self.entries.values())

    def all(self) -> Sequence[Domain]:
        return list(self.entries.values())

    def page(self, project_id: str, page: PageRequest) -> tuple[Sequence[Domain], str | None]:
        del page
        return [entry for entry in self.entries.values() if entry.project_id == project_id], None

    async def put(self, key: str, entity: Domain) -> None:
        if self.log_is_away:
            raise LogUnavailable("away")
        self.entries[key] = entity

    async def remove(self, key: str) -> None:
        del self.entries[key]

    async def look(self, record: DomainRecord) -> Looked:
        self.asked.append(record.name)
        if self.removed_meanwhile:
            self.entries.clear()
        return Looked(self.texts.get(record.name, ()))

    async def make(self, algorithm: Algorithm) -> KeyPair:
        return KeyPair(f"public-{algorithm}", f"private-{algorithm}")


def managed(world: World, seals: Seals) -> ManageDomains:
    return ManageDomains(world, world, world, seals, world, "mail.example.net")


NEW, OLD = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SEALS = Seals([NEW, OLD])


async def added(world: World, seals: Seals = SEALS, **body: Any) -> Domain:
    shown = await managed(world, seals).create(CALLER, {"domain": "shop.example", **body})
    found = world.by_id("prj_1", shown["id"])
    assert found is not None
    return found


async def test_a_domain_gets_one_key_or_two() -> None:
    entry = await added(World(), ed25519=True)
    assert [SEALS.open(key.sealed_private_key) for key in entry.dkim_keys] == ["private-rsa", "private-ed25519"]
    assert [record.purpose for record in entry.records] == ["dkim", "dkim", "spf", "return_path", "dmarc"]
    assert len((await added(World())).dkim_keys) == 1


async def test_the_daily_look() -> None:
    """Once a day, not before; what lapsed is unverified then. Nobody looks for what DNS was never asked about."""
    world = World({"prj_2:seeded.example": domain(project_id="prj_2", id="dom_2", verified_at=to_timestamp(NOW_MS))})
    entry = await added(world)
    world.texts[entry.records[0].name] = [entry.records[0].value]
    management = managed(world, SEALS)
    assert (await management.verify(CALLER, entry.id))["status"] == "verified"
    world.asked.clear()
    world.now += DAY_MS - 1000
    await management.check_due()
    assert world.asked == []
    world.now += 2000
    world.texts[entry.records[0].name] = None
    await management.check_due()
    assert len(world.asked) == 4
    assert management.show(CALLER, entry.id)["status"] == "verified"
    world.now += DAY_MS + 1000
    world.texts[entry.records[0].name] = ["p="]
    world.log_is_away = True
    await management.check_due()
    world.log_is_away = False
    await management.check_due()
    assert management.show(CALLER, entry.id)["status"] == "unverified"
    assert world.entries["prj_2:seeded.example"].verified_at is not None


async def test_what_is_removed_during_a_look_does_not_come_back() -> None:
    world = World()
    entry = await added(world)
    world.removed_meanwhile = True
    with pytest.raises(Refused):
        await managed(world, SEALS).verify(CALLER, entry.id)
    assert world.entries == {}


async def test_a_look_renews_the_seal() -> None:
    """So a sealing key can be taken away a day after the new one came."""
    world = World()
    entry = await added(world, Seals([OLD]))
    with pytest.raises(WrongSealingKey):
        Seals([NEW]).open(entry.dkim_keys[0].sealed_private_key)
    await managed(world, SEALS).verify(CALLER, entry.id)
    (renewed,) = world.entries["prj_1:shop.example"].dkim_keys
    assert Seals([NEW]).open(renewed.sealed_private_key) == "private-rsa"


async def test_another_projects_domain_is_not_found() -> None:
    world = World()
    entry = await added(world)
    other = Caller("prj_2", "key_2", "live", ("*",), None)
    management = managed(world, SEALS)
    with pytest.raises(Refused):
        management.show(other, entry.id)
    for change in (management.verify, management.delete):
        with pytest.raises(Refused):
            await change(other, entry.id)
    assert world.asked == []
