"""The numbers of a project's mail on a real ClickHouse: as a naive count over the events has them, repeats or not (R33)."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import combinations
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from chassis.ids import event_id
from schemas.envelope import Envelope, seal, to_ms, to_timestamp
from schemas.events import (
    MessageAccepted,
    MessageBounced,
    MessageComplained,
    MessageDeferred,
    MessageDelivered,
    MessageEvent,
    MessageOutcome,
    MessageQueued,
    MessageUnknown,
)
from schemas.mail import Attempt
from schemas.routing import Destination
from services.analytics.domain.metrics import COUNTS, RATES, Dimension
from tests.integration.analytics.bench import Bench, Json
from tests.kit.history import OTHER_PROJECT, PROJECT, History

HOUR_MS = 3_600_000
# The night in which Berlin's clocks go back: an hour of that day comes twice.
BEGIN_MS = to_ms("2026-10-24T20:07:00.000Z")
PROVIDERS = {"gmail.test": "google", "mail.gmail.test": "google", "outlook.test": "outlook"}
DOMAINS = [*PROVIDERS, "example.org"]


@dataclass(slots=True)
class Maker:
    """Lives with every value a dimension can have, spread over some hours."""

    chance: random.Random
    history: History
    events: list[Envelope[MessageEvent]] = field(default_factory=list)

    def life(self) -> list[Envelope[MessageEvent]]:
        self.history.now_ms = BEGIN_MS + self.chance.randrange(9 * HOUR_MS)
        known = self.history.new_id()
        about: dict[str, Any] = {
            "message_id": known.text,
            "recipient": f"u{self.chance.randrange(9)}@{self.chance.choice(DOMAINS)}",
            "tags": self.chance.sample(["otp", "news", "bill"], self.chance.randrange(3)),
            "metadata": {},
            "environment": self.chance.choice(["live", "live", "test"]),
        }
        created = to_timestamp(known.created_at_ms)
        queued = MessageQueued(
            **about, status="queued", from_="a@example.com", subject="S", channel=self.chance.choice(["api", "batch"]),
            priority=self.chance.choice(["critical", "bulk"]), template=self.chance.choice([None, "otp-code", "bill"]),
            api_key_id="key_1", size=1, submission_id="sub_1", created_at=created,
        )  # fmt: skip
        path = self.chance.choice(["mx:main", "ups_1"])
        accepted = MessageAccepted(
            **about, status="accepted", path=path, suppression_checked_at=created, reason=None, next_attempt_at=None
        )
        steps: list[MessageEvent] = [queued, accepted]
        kinds = self.chance.choice([[], ["d"], ["f", "d"], ["f", "f", "f", "b"], ["u", "d"], ["d", "c"], ["d", "b"]])
        times = [known.created_at_ms + 5, known.created_at_ms + 9]
        for number, kind in enumerate(kinds, start=1):
            times.append(times[-1] + self.chance.choice([3, 70_000, 40 * 60_000]))
            steps.append(self._step(kind, about, number, path, times[-1]))
        return [
            seal(
                data, record_id=event_id(known.text, sequence), source="router", subject=known.text, time_ms=time_ms,
                project_id=self.history.project_id, sequence=sequence,
            )
            for sequence, (data, time_ms) in enumerate(zip(steps, times, strict=True), start=1)
        ]  # fmt: skip

    def _step(self, kind: str, about: dict[str, Any], number: int, path: str, time_ms: int) -> MessageEvent:
        if kind == "c":
            feedback: Any = {"kind": "complaint", "received_at": to_timestamp(time_ms), "provider": None}
            return MessageComplained(**about, status="delivered", feedback=feedback)
        made: dict[str, tuple[type[MessageOutcome], str]] = {
            "d": (MessageDelivered, "delivered"),
            "f": (MessageDeferred, self.chance.choice(["transient", "greylisted"])),
            "b": (MessageBounced, "invalid_recipient"),
            "u": (MessageUnknown, "unknown"),
        }
        event, category = made[kind]
        detail = Attempt(
            number=number, started_at=to_timestamp(time_ms - 2), finished_at=to_timestamp(time_ms), path=path,
            phase="reply",
        )  # fmt: skip
        fields: dict[str, Any] = {**about, "status": event.TYPE.removeprefix("message."), "category": category}
        return event(**fields, attempt=detail, reason=None, next_attempt_at=None)


@pytest.fixture
def events() -> list[Envelope[MessageEvent]]:
    maker = Maker(random.Random(7), History(BEGIN_MS))
    return [event for _ in range(150) for event in maker.life()]


def destination(name: str, group: str, at_ms: int) -> Envelope[Destination]:
    found = Destination(destination=name, provider_group=group, mx_hosts=[], resolved_at_ms=at_ms)
    return seal(found, record_id=f"rec_{name}{at_ms}", source="sender", subject=name, time_ms=at_ms, project_id="")


async def filled(bench: Bench, events: Sequence[Envelope[MessageEvent]]) -> None:
    """All of them, some emitted again at later offsets, some inserted twice; and another project's."""
    chance = random.Random(5)
    stranger = Maker(random.Random(8), History(BEGIN_MS, seed=9, project_id=OTHER_PROJECT))
    strangers = [event for _ in range(20) for event in stranger.life()]
    await bench.insert_all(*events, *strangers, *chance.sample(list(events), 60))
    for place, records in bench.log.items():
        await bench.ingest.handle(bench.batch(place, 0, len(records) // 2))
    await bench.insert_all(
        *(destination(name, "elsewhere", BEGIN_MS) for name in PROVIDERS),
        *(destination(name, group, BEGIN_MS + 1) for name, group in PROVIDERS.items()),
    )


# the naive count


Group = tuple[str, ...]
Told = dict[Dimension, list[str]]


def told(event: Envelope[MessageEvent], queued: MessageQueued) -> Told:
    """What an event says in each dimension; "" for nothing."""
    data = event.data
    domain = data.recipient.partition("@")[2]
    attempt = data.attempt if isinstance(data, MessageOutcome) else None
    path = attempt.path if attempt else data.path if isinstance(data, MessageAccepted) else ""
    return {
        "recipient_domain": [domain],
        "provider_group": [PROVIDERS.get(domain, domain)],
        "tag": data.tags or [""],
        "template": [queued.template or ""],
        "channel": [queued.channel],
        "path": [path],
        "error_category": [data.category if isinstance(data, MessageOutcome) else ""],
        "priority": [queued.priority],
        "environment": [data.environment],
    }


def counted(
    events: Sequence[Envelope[MessageEvent]],
    group_by: Sequence[Dimension],
    bucket: Callable[[int], int],
    wanted: dict[Dimension, str],
    bounds: tuple[int, int],
) -> dict[tuple[int, Group], dict[str, set[str]]]:
    origins = {event.subject: event.data for event in events if isinstance(event.data, MessageQueued)}
    found: defaultdict[tuple[int, Group], defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for event in events:
        time_ms = to_ms(event.time)
        says = told(event, origins[event.subject])
        if not bounds[0] <= time_ms < bounds[1] or any(value not in says[name] for name, value in wanted.items()):
            continue
        for group in _groups(says, group_by):
            found[bucket(time_ms), group][event.type.removeprefix("message.")].add(event.subject)
    return {key: dict(kinds) for key, kinds in found.items()}


def _groups(says: Told, group_by: Sequence[Dimension]) -> Iterator[Group]:
    match group_by:
        case []:
            yield ()
        case [name]:
            yield from ((value,) for value in says[name])
        case [first, second]:
            yield from ((one, two) for one in says[first] for two in says[second])


def same(answer: Json, expected: dict[tuple[int, Group], dict[str, set[str]]]) -> None:
    found = {(to_ms(row["time"]), tuple(value or "" for value in row["group"].values())): row for row in answer["data"]}
    assert len(found) == len(answer["data"])
    assert expected.keys() <= found.keys()
    for key, row in found.items():
        kinds = expected.get(key, {})
        assert {name: row[name] for name in COUNTS} == {name: len(kinds.get(name, ())) for name in COUNTS}, key
        for rate, (part, whole) in RATES.items():
            out_of = len(set().union(*(kinds.get(name, set()) for name in whole)))
            assert row[rate] == (round(len(kinds.get(part, ())) / out_of, 6) if out_of else None), (key, rate)


def hour_of(zone: str) -> Callable[[int], int]:
    """By the definition: the moment at which the clock on the wall was last at the full hour."""

    def bucket(ms: int) -> int:
        local = datetime.fromtimestamp(ms / 1000, ZoneInfo(zone))
        return ms - local.minute * 60_000 - local.second * 1000 - ms % 1000

    return bucket


BUCKETS: dict[tuple[str, str], Callable[[int], int]] = {
    ("minute", "UTC"): lambda ms: ms - ms % 60_000,
    ("hour", "Europe/Berlin"): hour_of("Europe/Berlin"),
    ("hour", "Asia/Kolkata"): hour_of("Asia/Kolkata"),  # half an hour off
    ("hour", "Asia/Kathmandu"): hour_of("Asia/Kathmandu"),  # three quarters
    ("day", "Europe/Berlin"): lambda ms: to_ms("2026-10-24T22:00:00.000Z") - (86_400_000 if ms < 1792879200000 else 0),
    ("total", "UTC"): lambda _: BEGIN_MS,
}


async def test_the_counts_are_those_of_the_events_in_every_interval_R33(
    bench: Bench, events: list[Envelope[MessageEvent]]
) -> None:
    await filled(bench, events)
    bounds = (BEGIN_MS, BEGIN_MS + 11 * HOUR_MS + 1)
    asked = {"since": to_timestamp(bounds[0]), "until": to_timestamp(bounds[1])}
    for (interval, zone), bucket in BUCKETS.items():
        answer = await bench.api.get("/v1/metrics", interval=interval, time_zone=zone, **asked)
        assert (answer["object"], answer["interval"], answer["time_zone"]) == ("metrics", interval, zone)
        same(answer, counted(events, [], bucket, {}, bounds))


async def test_the_counts_are_those_of_the_events_in_every_group_and_filter_R33(
    bench: Bench, events: list[Envelope[MessageEvent]]
) -> None:
    """Each dimension, pairs of them, and each as a filter; the window cuts lives in two: what only `queued` says still holds."""
    await filled(bench, events)
    bounds = (BEGIN_MS + HOUR_MS, BEGIN_MS + 4 * HOUR_MS + 123)
    asked = {"since": to_timestamp(bounds[0]), "until": to_timestamp(bounds[1]), "interval": "total"}
    names: list[Dimension] = list(told(events[0], events[0].data))  # type: ignore[arg-type]  # the first is queued
    chance = random.Random(3)
    pairs = chance.sample(list(combinations(names, 2)), 6)
    for group_by in [*([name] for name in names), *map(list, pairs)]:
        answer = await bench.api.get("/v1/metrics", group_by=",".join(group_by), **asked)
        assert answer["group_by"] == group_by
        same(answer, counted(events, group_by, lambda _: bounds[0], {}, bounds))
    values: dict[Dimension, str] = {
        "recipient_domain": "gmail.test", "provider_group": "google", "tag": "otp", "template": "bill",
        "channel": "batch", "path": "ups_1", "error_category": "greylisted", "priority": "bulk", "environment": "test",
    }  # fmt: skip
    assert values.keys() == set(names)
    for name, value in values.items():
        by: list[Dimension] = [chance.choice(names)]
        query = {**asked, "group_by": by[0], name: value}
        status, answer = await bench.api.raw("/v1/metrics", bench.api.signed(PROJECT), query)
        assert status == 200, answer
        same(answer, counted(events, by, lambda _: bounds[0], {name: value}, bounds))


async def test_percentiles_are_of_messages_however_often_their_events_stand_there_R33(bench: Bench) -> None:
    history = History(BEGIN_MS)
    lives = [history.life("queued", "accepted", "delivered") for _ in range(100)]
    first = sorted(to_ms(life[2].data.attempt.started_at) - to_ms(life[0].data.created_at) for life in lives)  # type: ignore[attr-defined]  # of these types
    await bench.insert_all(*(event for life in lives for event in life))
    await bench.insert_all(*lives[0], *lives[0], *lives[0])  # emitted again, and again
    answer = await bench.api.get("/v1/metrics", since=to_timestamp(BEGIN_MS), interval="total")
    (row,) = answer["data"]
    assert row["first_attempt_ms"]["p50"] in first[48:52]
    assert row["first_attempt_ms"]["p99"] in first[97:]
    assert row["delivered_ms"] == row["first_attempt_ms"]


async def test_every_interval_is_there_and_nothing_of_others(bench: Bench) -> None:
    await bench.insert_all(*History(BEGIN_MS, project_id=OTHER_PROJECT).life("queued", "accepted"))
    since, until = to_timestamp(BEGIN_MS), to_timestamp(BEGIN_MS + 3 * HOUR_MS)
    answer = await bench.api.get("/v1/metrics", since=since, until=until, interval="hour")
    assert [row["time"] for row in answer["data"]] == [f"2026-10-24T{hour}:00:00.000Z" for hour in (20, 21, 22, 23)]
    assert all(row["queued"] == 0 and row["delivery_rate"] is None for row in answer["data"])
    assert all(row["delivered_ms"] == {"p50": None, "p95": None, "p99": None} for row in answer["data"])
    grouped = await bench.api.get("/v1/metrics", since=since, until=until, group_by="tag")
    assert grouped["data"] == []
    assert grouped["behind_ms"] == 0


@pytest.mark.parametrize(
    ("params", "field", "code"),
    [
        ({"interval": "week"}, "interval", "invalid_value"),
        ({"time_zone": "Mars/Olympus"}, "time_zone", "invalid_value"),
        ({"group_by": "tag,template,path"}, "group_by", "invalid_value"),
        ({"channel": "fax"}, "channel", "invalid_value"),
        ({"subject": "x"}, "subject", "unsupported_field"),
    ],
)
async def test_bad_parameters(bench: Bench, params: dict[str, str], field: str, code: str) -> None:
    status, body = await bench.api.call("/v1/metrics", PROJECT, **params)
    assert (status, [(fault["field"], fault["code"]) for fault in body["errors"]]) == (422, [(field, code)])


def test_the_night_is_one_in_which_an_hour_comes_twice() -> None:
    zone = ZoneInfo("Europe/Berlin")
    hours = [datetime.fromtimestamp((BEGIN_MS + n * HOUR_MS) / 1000, UTC).astimezone(zone).hour for n in range(9)]
    assert len(hours) > len(set(hours))
