"""`GET /v1/messages`: every filter, and any of them together, against a plain list in Python (R30)."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chassis.clock import SystemClock
from chassis.ids import parse_message_id
from schemas.envelope import Envelope, to_ms, to_timestamp
from schemas.events import MessageAccepted, MessageEvent, MessageOutcome, MessageQueued
from tests.integration.analytics.bench import TABLES, Bench, built, ids
from tests.kit.clickhouse import Database
from tests.kit.history import History

LIVES = (
    ("queued",),
    ("queued", "accepted"),
    ("queued", "accepted", "deferred"),
    ("queued", "accepted", "delivered"),
    ("queued", "accepted", "deferred", "bounced"),
    ("queued", "accepted", "deferred", "held"),
)


@dataclass(frozen=True, slots=True)
class Sent:
    """A message as a person would write it down."""

    id: str
    events: Sequence[Envelope[MessageEvent]]
    facts: dict[str, Any]

    @property
    def month(self) -> str:
        known = parse_message_id(self.id)
        assert known is not None
        return to_timestamp(known.created_at_ms)[:7]

    def has(self, name: str, value: str) -> bool:
        match name:
            case "tag":
                return value in self.facts["tags"]
            case "subject":
                return value.lower() in self.facts["subject"].lower()
            case "metadata[order]":
                return bool(self.facts["metadata"].get("order") == value)
            case "status":
                return self.events[-1].data.status == value
            case "path" | "error_category":
                return self._last(name) == value
            case _:
                return bool(self.facts[name] == value)

    def _last(self, name: str) -> str | None:
        said = [event.data for event in self.events]
        if name == "error_category":
            return next((data.category for data in reversed(said) if isinstance(data, MessageOutcome)), None)
        paths = [
            data.path if isinstance(data, MessageAccepted) else data.attempt.path
            for data in said
            if isinstance(data, MessageAccepted | MessageOutcome)
        ]
        return paths[-1] if paths else None


def turn_of_the_month() -> int:
    """The last one."""
    return to_ms(to_timestamp(SystemClock().now_ms())[:7] + "-01T00:00:00.000Z")


def some(history: History, chance: random.Random, number: int) -> Sent:
    domain = chance.choice(["example.org", "example.net", "rare.example"])
    facts: dict[str, Any] = {
        "recipient": f"user{number % 40}@{domain}",
        "recipient_domain": domain,
        "from": f"shop{number % 3}@example.com",
        "subject": f"Receipt {number % 50} of your ORDER 100%",
        "tags": chance.sample(["otp", "news", "receipt", "100%_"], chance.randint(0, 2)),
        "metadata": {"order": str(number % 20), "tier": "gold"},
        "template": chance.choice([None, "tpl_1", "tpl_2"]),
        "channel": chance.choice(["api", "batch"]),
    }
    life = history.life(
        *chance.choice(LIVES),
        recipient=facts["recipient"],
        sender=f"Shop <{facts['from']}>",
        subject=facts["subject"],
        tags=facts["tags"],
        metadata=facts["metadata"],
    )
    path = chance.choice(["main", "upstream", "mx:bulk"])
    events = [_with(event, facts, path) for event in life]
    return Sent(life[0].subject, events, facts)


def _with(event: Envelope[MessageEvent], facts: dict[str, Any], path: str) -> Envelope[MessageEvent]:
    """What the history has no words for."""
    match event.data:
        case MessageQueued() as data:
            changed: MessageEvent = data.model_copy(update={name: facts[name] for name in ("template", "channel")})
        case MessageOutcome() as data:
            changed = data.model_copy(update={"attempt": data.attempt.model_copy(update={"path": path})})
        case data:
            changed = data
    return event.model_copy(update={"data": changed})


_ONE_PART = "min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1"
FILTERS: dict[str, Sequence[str]] = {
    "status": ("queued", "accepted", "deferred", "delivered", "bounced", "held", "expired"),
    "recipient": ("user7@example.org", "nobody@example.org"),
    "recipient_domain": ("example.org", "rare.example", "elsewhere.example"),
    "from": ("shop1@example.com", "shop9@example.com"),
    "subject": ("receipt 4", "order 100%", "t 49 of YOUR", "100_", "no such words"),
    "tag": ("otp", "100%_", "none"),
    "template": ("tpl_1", "tpl_9"),
    "metadata[order]": ("7", "70"),
    "path": ("main", "upstream", "mx:bulk", "elsewhere"),
    "error_category": ("transient", "delivered", "invalid_recipient", "mailbox_full"),
    "channel": ("api", "batch"),
}


async def test_any_filters_find_what_a_plain_list_finds_whatever_is_merged_or_comes_twice_R30(bench: Bench) -> None:
    """Events come in several inserts, out of order and some twice: each message lies about in rows that disagree, in two
    months."""
    chance = random.Random(30)
    history = History(turn_of_the_month() - 2_000, partitions=3)
    sent = [some(history, chance, number) for number in range(90)]
    assert sent[0].month != sent[-1].month, "pages go over the turn of a month"
    events = [event for message in sent for event in message.events]
    chance.shuffle(events)
    for start in range(0, len(events), 100):
        await bench.insert_all(*events[start : start + 100], *chance.sample(events, 20))
    singly: list[dict[str, str]] = [{name: value} for name, values in FILTERS.items() for value in values]
    together = [
        {name: chance.choice(FILTERS[name]) for name in chance.sample(list(FILTERS), chance.randint(2, 3))}
        for _ in range(15)
    ]
    together += [
        {"status": at, "path": path} for at in ("accepted", "deferred", "held") for path in ("main", "upstream")
    ]
    together += [{"status": at, "error_category": "transient"} for at in ("deferred", "delivered", "held")]
    together += [{"status": "deferred", "tag": "otp"}, {"path": "main", "error_category": "transient"}]
    await agree(bench, sent, singly, limit=100)
    found = await agree(bench, sent, together, limit=20)
    assert found > 2, "what is asked for together is there, too"
    for table in TABLES:
        bench.database.command(f"SYSTEM START MERGES {table}")
        bench.database.command(f"OPTIMIZE TABLE {table} FINAL")
    await agree(bench, sent, together[:10], limit=100)


async def agree(bench: Bench, sent: Sequence[Sent], asked: Sequence[dict[str, str]], *, limit: int) -> int:
    """How many of the questions find something. Whatever a message is found by, it says the same of itself."""
    finding = 0
    all_of_them = {m["message_id"]: m for m in await bench.api.pages("/v1/messages", limits=iter(lambda: 100, None))}
    for filters in asked:
        expected = [m.id for m in reversed(sent) if all(m.has(name, value) for name, value in filters.items())]
        found = await bench.api.pages("/v1/messages", limits=iter(lambda: limit, None), **filters)
        assert ids(found) == expected, filters
        assert found == [all_of_them[message_id] for message_id in expected], filters
        finding += bool(expected)
    return finding


async def test_a_page_of_what_few_messages_are_at_is_found_behind_many_that_were_R30(bench: Bench) -> None:
    """Rows that are out of date are candidates, too: more than one look's of them must not hide what lies behind."""
    history = History(SystemClock().now_ms() - 3_600_000)
    waiting = [history.life("queued", "accepted", "deferred") for _ in range(3)]
    over = [history.life("queued", "accepted", "deferred", "delivered") for _ in range(80)]
    await bench.insert_all(*(event for life in (*waiting, *over) for event in life[:3]))
    await bench.insert_all(*(event for life in over for event in life[3:]))
    found = await bench.api.pages("/v1/messages", limits=iter([1, 1, 1]), status="deferred", tag="otp")
    assert ids(found) == [life[0].subject for life in reversed(waiting)]


async def test_what_an_event_in_between_said_last_is_found_R30(bench: Bench) -> None:
    """The row with the latest status knows all but that."""
    history = History(SystemClock().now_ms() - 3_600_000)
    queued, accepted, deferred, held = history.life("queued", "accepted", "deferred", "held")
    await bench.insert_all(queued, accepted, held)
    await bench.insert_all(deferred)
    facts: dict[str, str] = {"tag": "otp", "status": "held"}
    for filters in (facts, {"status": "held", "error_category": "transient"}, facts | {"error_category": "transient"}):
        assert ids((await bench.api.get("/v1/messages", **filters))["data"]) == [queued.subject], filters


async def test_a_month_that_is_over_becomes_one_part_R30(clickhouse: Database) -> None:
    """What lies in pieces, and each part of a table, costs every page: ClickHouse merges what nothing has come to for a day."""
    history = History(turn_of_the_month() - 86_400_000)
    life = history.life("queued", "accepted", "delivered")
    parts = "SELECT count(), sum(rows) FROM system.parts WHERE database = currentDatabase() AND active AND table = 'message_index'"
    async with built(clickhouse) as bench:
        made = (
            f"SELECT count() FROM system.tables WHERE database = currentDatabase() AND engine_full LIKE '%{_ONE_PART}%'"
        )
        assert bench.database.rows(made) == [(2,)], "of messages and of their index"
        for event in life:
            await bench.insert_all(event)
        assert bench.database.rows(parts) == [(3, 3)]
        soon = "min_age_to_force_merge_seconds = 1, merge_selecting_sleep_ms = 100, max_merge_selecting_sleep_ms = 100"
        bench.database.command(f"ALTER TABLE message_index MODIFY SETTING {soon}", "SYSTEM START MERGES message_index")
        async with asyncio.timeout(20):
            while bench.database.rows(parts) != [(1, 1)]:
                await asyncio.sleep(0.1)


async def test_a_key_of_metadata_is_never_taken_for_part_of_a_value(bench: Bench) -> None:
    history = History(SystemClock().now_ms() - 3_600_000)
    one = history.life("queued", metadata={"a": "b=c"})
    other = history.life("queued", metadata={"a=b": "c"})
    await bench.insert_all(*one, *other)
    assert ids((await bench.api.get("/v1/messages", **{"metadata[a]": "b=c"}))["data"]) == [one[0].subject]
    assert ids((await bench.api.get("/v1/messages", **{"metadata[a=b]": "c"}))["data"]) == [other[0].subject]
