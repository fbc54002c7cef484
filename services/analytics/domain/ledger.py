"""The ledger: of what was accepted in an hour, where each message stands now, counted from two sides (R37).

    queued = delivered + bounced + suppressed + cancelled + expired + scheduled + waiting + held + in flight

Pure. The fold goes by `sequence`, so events may come twice and in any order; the hour is the one in the message's id.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from chassis.ids import message_octets
from schemas.envelope import to_timestamp
from schemas.events import MessageQueued
from services.analytics.domain.answers import Json
from services.analytics.domain.parameters import Fault, InvalidQuery, Parameters, Reader, time_value

ENDS = ("delivered", "bounced", "suppressed", "cancelled", "expired")
OPEN = ("scheduled", "waiting", "held", "in_flight")
QUEUED = "queued"  # messages whose first event is there: the left side of the equation, counted for itself
HOUR_MS = 3_600_000
_USUAL_MS, _LONGEST_MS = 24 * HOUR_MS, 31 * 24 * HOUR_MS

Octets = bytes  # a message id as its 20 octets: sorts by time, as the text does
Counts = Counter[str]  # by word: QUEUED, and each of ENDS and OPEN


class Account(NamedTuple):
    """What is counted together."""

    hour_ms: int
    project_id: str


class Standing(NamedTuple):
    """Where a message stands, as of its highest sequence; `queued`: its first event is there."""

    sequence: int
    state: str
    queued: bool


class Fact(NamedTuple):
    """What one event says."""

    message: Octets
    project_id: str
    standing: Standing


class Hours(NamedTuple):
    """Whole hours, `end_ms` not among them."""

    first_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Moves:
    """What a piece of the log has changed: standings, and by how much each count."""

    standings: Mapping[Octets, Standing]
    counts: Mapping[tuple[Account, str], int]


@dataclass(frozen=True, slots=True)
class Balance:
    """One account from both sides, at the same position of the log. `missing`: accepted, and no event tells of it."""

    account: Account
    tables: Counts
    log: Counts
    missing: int = 0

    @property
    def drift(self) -> int:
        """How many messages one side has otherwise than the other."""
        apart = [self.tables[word] - self.log[word] for word in (*ENDS, *OPEN)]
        more, less = sum(n for n in apart if n > 0), -sum(n for n in apart if n < 0)
        return max(more, less, abs(self.tables[QUEUED] - self.log[QUEUED]))


@dataclass(slots=True)
class Drifts:
    """Which accounts are known to drift. `noted` says what is new, so that a line is written once."""

    known: dict[Account, Balance] = field(default_factory=dict)

    def noted(self, hours: Hours, balances: Iterable[Balance]) -> tuple[Sequence[Balance], Sequence[Account]]:
        """Take what was found in these hours: the balances that drift (otherwise than before), and what is even again."""
        found = {balance.account: balance for balance in balances if balance.drift or balance.missing}
        looked_at = {account for account in self.known if hours.first_ms <= account.hour_ms < hours.end_ms}
        gone = sorted(looked_at - found.keys())
        news = [balance for account, balance in found.items() if self.known.get(account) != balance]
        for account in gone:
            del self.known[account]
        self.known.update(found)
        return news, gone

    def by_hour(self) -> Mapping[int, int]:
        totals: Counter[int] = Counter()
        for account, balance in self.known.items():
            totals[account.hour_ms] += balance.drift
        return {hour: drift for hour, drift in totals.items() if drift}

    def missing(self) -> int:
        return sum(balance.missing for balance in self.known.values())


def state_of(status: str, reason: str) -> str:
    """The word of the ledger for a status; what waits has a reason, so `in_flight` is with a sender or about to be."""
    if status in ENDS or status in {"scheduled", "held"}:
        return status
    return "waiting" if reason or status in {"deferred", "unknown"} else "in_flight"


def hour_of(message: Octets) -> int:
    created_at_ms = int.from_bytes(message[:6])
    return created_at_ms - created_at_ms % HOUR_MS


def fact_of(value: bytes | None) -> Fact | None:
    """What a record of `message-events` says; None where it is no event of a message: then nobody counts it."""
    try:
        event = orjson.loads(value or b"")
        message = message_octets(event["subject"])
        data = event["data"]
        state = state_of(data["status"], data.get("reason") or "")
        standing = Standing(int(event["sequence"]), state, event["type"] == MessageQueued.TYPE)
        project_id = str(event["projectid"])
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError):
        return None
    return None if message is None else Fact(message, project_id, standing)


def submission_of(value: bytes | None, landed_ms: int) -> tuple[Octets, str] | None:
    """The message and project of a `Submit`; None where it is void: it landed too late, or can not be read."""
    try:
        submit = orjson.loads(value or b"")
        message, project_id = message_octets(submit["subject"]), str(submit["projectid"])
        late = landed_ms > submit["data"]["valid_until_ms"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return None if late or message is None else (message, project_id)


def fold(known: Mapping[Octets, Standing], facts: Iterable[Fact]) -> Moves:
    """Move on from `known` (the standings of these messages, where they have one)."""
    standings: dict[Octets, Standing] = {}
    counts: Counter[tuple[Account, str]] = Counter()
    for message, project_id, new in facts:
        old = standings.get(message) or known.get(message)
        account = Account(hour_of(message), project_id)
        latest = new if old is None or new.sequence > old.sequence else old
        standing = Standing(latest.sequence, latest.state, new.queued or (old is not None and old.queued))
        if standing == old:
            continue
        standings[message] = standing
        counts[account, standing.state] += 1
        if old is not None:
            counts[account, old.state] -= 1
        if standing.queued and not (old is not None and old.queued):
            counts[account, QUEUED] += 1
    return Moves(standings, {key: n for key, n in counts.items() if n})


def balances(
    tables: Mapping[Account, Counts], log: Mapping[Account, Counts], missing: Mapping[Account, int]
) -> Sequence[Balance]:
    """Every account that any side knows, newest first."""
    accounts = sorted({*tables, *log, *missing}, reverse=True)
    nothing = Counts()
    return [
        Balance(account, tables.get(account, nothing), log.get(account, nothing), missing.get(account, 0))
        for account in accounts
    ]


def ledger_query(parameters: Parameters, now_ms: int) -> Hours:
    """`GET /v1/ledger`: the whole hours that `since` and `until` touch, the last 24 by default. Raises InvalidQuery."""
    reader = Reader(parameters)
    since, until = reader.take("since", time_value), reader.take("until", time_value)
    reader.finish()
    end = _up(now_ms + 1 if until is None else until)
    hours = Hours((end - _USUAL_MS if since is None else since) // HOUR_MS * HOUR_MS, end)
    if hours.end_ms <= hours.first_ms:
        raise InvalidQuery([Fault("until", "invalid_value", "It must be later than `since`.")])
    if hours.end_ms - hours.first_ms > _LONGEST_MS:
        raise InvalidQuery([Fault("since", "too_long", "At most 31 days at once.")])
    return hours


def ledger_view(found: Iterable[Balance]) -> Json:
    return {
        "object": "ledger",
        "data": [
            {
                "hour": to_timestamp(balance.account.hour_ms),
                **_side(balance.tables),
                "log": _side(balance.log),
                "missing": balance.missing,
                "drift": balance.drift,
            }
            for balance in found
        ],
    }


def _side(counts: Counts) -> Json:
    return {
        QUEUED: counts[QUEUED],
        **{word: counts[word] for word in ENDS},
        "open": {word: counts[word] for word in OPEN},
    }


def _up(ms: int) -> int:
    return -(-ms // HOUR_MS) * HOUR_MS
