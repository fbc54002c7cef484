"""The read side's questions. Every value is bound by the server; what is shown is of one project (`_select`).

Rows that were inserted twice must never show: what is counted or ordered is read merged (FINAL), or one row per id.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from chassis.clock import Clock
from chassis.ids import encode_base32
from schemas.topics import Topic
from services.analytics.adapters.clickhouse import ClickHouse
from services.analytics.domain.cursors import AttemptCursor, Positions
from services.analytics.domain.feed import FeedEntry, Heads
from services.analytics.domain.filters import MessageFilters, MessagesQuery, SandboxQuery
from services.analytics.domain.rows import Position
from services.analytics.domain.sandbox import SandboxRow
from services.analytics.domain.views import EndpointAttempt, Message, Outcome
from services.analytics.metrics import QUERIES_FAILED, QUERY_SECONDS
from services.analytics.ports import StoreUnavailable

Conditions = list[str]
Values = dict[str, object]

# The feed looks this many offsets ahead first: a client that starts at the beginning is not answered by sorting all.
_WINDOW = 5_000
_NO_WINDOW = 2**61  # beyond any offset
# `latest` and `outcome` whole, never a part of them (schema.py says why).
_MESSAGE = """
    message_id, recipient, mail_from, mail_subject, tags, metadata, toUnixTimestamp64Milli(created_at), attempts,
    latest, outcome
"""
_SANDBOX_MAIL = """
    tuple(_topic, _partition, _offset), project_id, message_id, toUnixTimestamp64Milli(taken_at), recipient, mail_from,
    mail_subject, attempt, outcome, size, truncated
"""


class ClickHouseReads:
    """The port `Reads` on ClickHouse."""

    def __init__(self, clickhouse: ClickHouse, clock: Clock, event_topics: Sequence[Topic], *, deadline: float) -> None:
        self._clickhouse = clickhouse
        self._clock = clock
        self._deadline = deadline
        # Of each partition, the offset behind its last row, as last seen (of whatever project).
        self._ends = {(topic.name, partition): 0 for topic in event_topics for partition in range(topic.partitions)}

    async def messages(self, project_id: str, query: MessagesQuery, *, count: int) -> list[Message]:
        """The page's ids are found first, on few columns; only they are read whole and merged."""
        page, values = _page_of_messages(query, count)
        chosen = [f"message_id IN ({page})"]
        statement = _select(_MESSAGE, "messages FINAL", chosen, "ORDER BY message_id DESC", where="PREWHERE")
        return [_message(row) for row in await self._ask("messages", statement, project_id, values)]

    async def message(self, project_id: str, message_id: str) -> Message | None:
        statement = _select(_MESSAGE, "messages FINAL", ["message_id = {id:String}"], where="PREWHERE")
        rows = await self._ask("message", statement, project_id, {"id": message_id})
        return _message(rows[0]) if rows else None

    async def timeline(self, project_id: str, message_id: str, last_sequence: int) -> list[str]:
        conditions = ["subject = {id:String}", "sequence <= {last:UInt32}"]
        statement = _select("event", "events_raw FINAL", conditions, "ORDER BY sequence", where="PREWHERE")
        values: Values = {"id": message_id, "last": last_sequence}
        return [event for (event,) in await self._ask("timeline", statement, project_id, values)]

    async def belongs_elsewhere(self, project_id: str, message_id: str) -> bool:
        # The one look across projects: it tells that an id is taken, and nothing of it.
        statement = "SELECT 1 FROM messages WHERE project_id != {project:String} AND message_id = {id:String} LIMIT 1"
        return bool(await self._ask("belongs_elsewhere", statement, project_id, {"id": message_id}))

    async def next_events(
        self, project_id: str, start: Positions, types: frozenset[str], *, per_partition: int
    ) -> Heads:
        # Asked first: what is inserted meanwhile lies behind these ends, and is looked at the next time.
        ends = await self._look_at_ends(project_id)
        near = await self._events_from(project_id, start, ends, types, per_partition, window=_WINDOW)
        if len(near.entries) >= per_partition:
            return near
        return await self._events_from(project_id, start, ends, types, per_partition, window=_NO_WINDOW)

    async def events(self, project_id: str, entries: Sequence[FeedEntry]) -> Mapping[str, str]:
        conditions = ["subject IN {subjects:Array(String)}", "event_id IN {ids:Array(String)}"]
        statement = _select("event_id, event", "events_raw FINAL", conditions, where="PREWHERE")
        subjects = sorted({entry.subject for entry in entries})
        values: Values = {"subjects": subjects, "ids": [entry.event_id for entry in entries]}
        return dict(await self._ask("events", statement, project_id, values))

    async def attempts(
        self, project_id: str, endpoint_id: str, after: AttemptCursor | None, *, count: int
    ) -> list[EndpointAttempt]:
        conditions, values = ["endpoint_id = {endpoint:String}"], Values(endpoint=endpoint_id, count=count)
        if after is not None:
            conditions.append("(at, attempt_id) < (fromUnixTimestamp64Milli({at:Int64}, 'UTC'), {id:String})")
            values |= {"at": after.at_ms, "id": after.attempt_id}
        statement = _select(
            "toUnixTimestamp64Milli(at), attempt_id, attempt",
            "webhook_attempts FINAL",
            conditions,
            "ORDER BY project_id, endpoint_id, at DESC, attempt_id DESC LIMIT {count:UInt32}",
        )
        rows = await self._ask("attempts", statement, project_id, values)
        return [EndpointAttempt(AttemptCursor(at_ms, attempt_id), document) for at_ms, attempt_id, document in rows]

    async def sandbox_mails(self, project_id: str, query: SandboxQuery, *, count: int) -> list[SandboxRow]:
        conditions, values = Conditions(), Values(count=count)
        if query.after is not None:
            conditions.append("message_id < {after:String}")
            values["after"] = query.after
        if query.recipient is not None:
            conditions.append("lowerUTF8(recipient) = lowerUTF8({recipient:String})")
            values["recipient"] = query.recipient
        tail = "ORDER BY project_id, message_id DESC LIMIT {count:UInt32}"
        statement = _select(f"{_SANDBOX_MAIL}, ''", "sandbox_mails FINAL", conditions, tail)
        return [_sandbox_mail(row) for row in await self._ask("sandbox_mails", statement, project_id, values)]

    async def sandbox_mail(self, project_id: str, message_id: str) -> SandboxRow | None:
        conditions = ["message_id = {id:String}"]
        statement = _select(f"{_SANDBOX_MAIL}, mime", "sandbox_mails FINAL", conditions, where="PREWHERE")
        rows = await self._ask("sandbox_mail", statement, project_id, {"id": message_id})
        return _sandbox_mail(rows[0]) if rows else None

    async def _look_at_ends(self, project_id: str) -> Positions:
        """The ends of the partitions now. Behind the last known ones there is little to read."""
        ranges, values = _ranges(self._ends, _NO_WINDOW)
        statement = f"""
            SELECT _topic, _partition, max(_offset) + 1 FROM events_raw WHERE {ranges} GROUP BY _topic, _partition
        """  # noqa: S608  # words of this module; no row of any project is shown
        for topic, partition, end in await self._ask("ends", statement, project_id, values):
            self._ends[topic, partition] = max(end, self._ends[topic, partition])
        return dict(self._ends)

    async def _events_from(
        self,
        project_id: str,
        start: Positions,
        ends: Positions,
        types: frozenset[str],
        per_partition: int,
        *,
        window: int,
    ) -> Heads:
        first = {place: start.get(place, 0) for place in ends}
        ranges, values = _ranges(first, window)
        wanted = ["event_type IN {types:Array(String)}"] if types else []
        statement = _select(
            "_topic, _partition, _offset, toUnixTimestamp64Milli(event_time), subject, event_id",
            "events_raw FINAL",
            [ranges, *wanted],
            "ORDER BY _topic, _partition, _offset LIMIT {count:UInt32} BY _topic, _partition",
        )
        values |= {"types": sorted(types), "count": per_partition}
        rows = await self._ask("next_events", statement, project_id, values)
        entries = [
            FeedEntry(Position(topic, partition, offset), event_time, subject, event_id)
            for topic, partition, offset, event_time, subject, event_id in rows
        ]
        seen = {place: min(end, first[place] + window) for place, end in ends.items()}
        full = Counter(entry.position.place for entry in entries)
        for entry in entries:  # the last one of a partition tells how far a full one was looked through
            if full[entry.position.place] >= per_partition:
                seen[entry.position.place] = entry.position.offset + 1
        return Heads(entries, seen)

    async def _ask(self, name: str, statement: str, project_id: str, values: Values) -> list[tuple[Any, ...]]:
        started = self._clock.monotonic()
        try:
            rows = await self._clickhouse.query(statement, {"project": project_id, **values}, within=self._deadline)
        except StoreUnavailable:
            QUERIES_FAILED.labels(name).inc()
            raise
        QUERY_SECONDS.labels(name).observe(self._clock.monotonic() - started)
        return rows


def _select(columns: str, source: str, conditions: Conditions, tail: str = "", *, where: str = "WHERE") -> str:
    """A SELECT of one project: the one place where tenants are kept apart.

    Where all conditions are on the sorting key, `where` may be PREWHERE: rows are left out before they are merged, which
    is the same only because rows that merge have the same key.
    """
    found = " AND ".join(["project_id = {project:String}", *conditions])
    return f"SELECT {columns} FROM {source} {where} {found} {tail}"  # noqa: S608  # words of this module: values are bound


def _page_of_messages(query: MessagesQuery, count: int) -> tuple[str, Values]:
    """The SELECT of a page's ids, newest first.

    What all rows of a message have in common is asked of any of its rows: one row per id, no merge, and the indexes
    help. What changes, or stands in one row only, needs the merged row; where few messages can have what else is asked
    for, they are found first.
    """
    values: Values = {"count": count}
    filters = query.filters
    bounds, lasting = _bounds(filters, query.after, values), _lasting(filters, values)
    merged = _merged(filters, values)
    order, limit = "ORDER BY project_id, message_id DESC", "LIMIT {count:UInt32}"
    if not merged:
        tail = f"{order} LIMIT 1 BY message_id {limit}"
        return _select("message_id", "messages", [*bounds, *lasting], tail), values
    if filters.recipient is not None or filters.metadata:
        lasting = [f"message_id IN ({_select('message_id', 'messages', [*bounds, *lasting])})"]
    return _select("message_id", "messages FINAL", [*bounds, *lasting, *merged], f"{order} {limit}"), values


def _bounds(filters: MessageFilters, after: str | None, values: Values) -> Conditions:
    """Times and cursor as a range of ids: ids begin with their time."""
    found: Conditions = []
    for name, operator, ms in (("since", ">=", filters.since_ms), ("until", "<", filters.until_ms)):
        if ms is not None:
            found.append(f"message_id {operator} {{{name}:String}}")
            values[name] = f"msg_{encode_base32(ms << 112, 32)}"
    if after is not None:
        found.append("message_id < {after:String}")
        values["after"] = after
    return found


def _lasting(filters: MessageFilters, values: Values) -> Conditions:
    found: Conditions = []
    for name, condition, value in (
        ("recipient", "lowerUTF8(recipient) = lowerUTF8({recipient:String})", filters.recipient),
        ("domain", "recipient_domain = {domain:String}", filters.recipient_domain),
        ("tag", "has(tags, {tag:String})", filters.tag),
    ):
        if value is not None:
            found.append(condition)
            values[name] = value
    for number, (key, value) in enumerate(sorted(filters.metadata.items())):
        # The index is on the values alone; the second half makes the answer exact.
        found.append(f"has(mapValues(metadata), {{value{number}:String}})")
        found.append(f"metadata[{{key{number}:String}}] = {{value{number}:String}}")
        values |= {f"key{number}": key, f"value{number}": value}
    return found


def _merged(filters: MessageFilters, values: Values) -> Conditions:
    found: Conditions = []
    for name, condition, value in (
        ("status", "substring(status_at, 11) = {status:String}", filters.status),
        ("sender", "mail_from_address = {sender:String}", filters.sender),
        ("subject", "positionCaseInsensitiveUTF8(mail_subject, {subject:String}) > 0", filters.subject),
    ):
        if value is not None:
            found.append(condition)
            values[name] = value
    return found


def _ranges(start: Positions, window: int) -> tuple[str, Values]:
    """What lies from `start` on (all partitions that topics.yaml gives a topic), `window` offsets of each.

    Per topic, the bounds of all its partitions together: those the index on the log position can use. Then each
    partition's own, by its number.
    """
    topics: dict[str, dict[int, int]] = {}
    for (topic, partition), offset in start.items():
        topics.setdefault(topic, {})[partition] = offset
    ranges: Conditions = []
    values: Values = {"window": window}
    for number, (topic, first) in enumerate(topics.items()):
        ranges.append(
            f"(_topic = {{topic{number}:String}} AND _partition < length({{own{number}:Array(UInt64)}})"
            f" AND _offset >= {{first{number}:UInt64}} AND _offset < {{last{number}:UInt64}}"
            f" AND _offset >= {{own{number}:Array(UInt64)}}[_partition + 1]"
            f" AND _offset < {{own{number}:Array(UInt64)}}[_partition + 1] + {{window:UInt64}})"
        )
        own = [first[partition] for partition in range(len(first))]
        values |= {f"topic{number}": topic, f"own{number}": own}
        values |= {f"first{number}": min(own), f"last{number}": max(own) + window}
    return f"({' OR '.join(ranges)})", values


def _sandbox_mail(row: tuple[Any, ...]) -> SandboxRow:
    position, *fields = row
    return SandboxRow(Position(*_parts(position)), *fields)


def _parts(position: Any) -> Sequence[Any]:
    """A tuple as the server, or the embedded engine, gives it."""
    return list(position.values()) if isinstance(position, Mapping) else list(position)


def _message(row: tuple[Any, ...]) -> Message:
    message_id, recipient, sender, subject, tags, metadata, created_at, attempts, latest, outcome = row
    return Message(
        message_id=message_id,
        sequence=latest["sequence"],
        status=latest["status"],
        recipient=recipient,
        sender=sender,
        subject=subject,
        tags=tags,
        metadata=metadata,
        created_at=created_at,
        updated_at=latest["time"],
        attempts=attempts,
        next_attempt_at=latest["next_attempt_at"],
        reason=latest["reason"],
        outcome=Outcome(
            code=outcome["code"],
            enhanced_code=outcome["enhanced_code"],
            category=outcome["category"],
            reply=outcome["reply"],
        )
        if outcome["sequence"]
        else None,
    )
