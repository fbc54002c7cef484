"""The questions about messages: a page of them, one, and its timeline."""

from typing import Any

from chassis.ids import encode_base32
from services.analytics.adapters.questions import Conditions, Questions, Values, select
from services.analytics.domain.message_filters import MessageFilters, MessagesQuery
from services.analytics.domain.messages import Message, Outcome

# `latest` and `outcome` whole, never a part of them (m0001_tables.py says why).
_MESSAGE = """
    message_id, recipient, mail_from, mail_subject, tags, metadata, toUnixTimestamp64Milli(created_at), attempts,
    latest, outcome
"""


class ClickHouseMessages:
    """The port `MessageReads` on ClickHouse."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    async def messages(self, project_id: str, query: MessagesQuery, *, count: int) -> list[Message]:
        """The page's ids are found first, on few columns; only they are read whole and merged."""
        page, values = _page_of_messages(query, count)
        chosen = [f"message_id IN ({page})"]
        statement = select(_MESSAGE, "messages FINAL", chosen, "ORDER BY message_id DESC", where="PREWHERE")
        return [_message(row) for row in await self._questions.ask("messages", statement, project_id, values)]

    async def message(self, project_id: str, message_id: str) -> Message | None:
        statement = select(_MESSAGE, "messages FINAL", ["message_id = {id:String}"], where="PREWHERE")
        rows = await self._questions.ask("message", statement, project_id, {"id": message_id})
        return _message(rows[0]) if rows else None

    async def timeline(self, project_id: str, message_id: str, last_sequence: int) -> list[str]:
        conditions = ["subject = {id:String}", "sequence <= {last:UInt32}"]
        statement = select("event", "events_raw FINAL", conditions, "ORDER BY sequence", where="PREWHERE")
        values: Values = {"id": message_id, "last": last_sequence}
        return [event for (event,) in await self._questions.ask("timeline", statement, project_id, values)]

    async def belongs_elsewhere(self, project_id: str, message_id: str) -> bool:
        # The one look across projects: it tells that an id is taken, and nothing of it.
        statement = "SELECT 1 FROM messages WHERE project_id != {project:String} AND message_id = {id:String} LIMIT 1"
        return bool(await self._questions.ask("belongs_elsewhere", statement, project_id, {"id": message_id}))


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
        return select("message_id", "messages", [*bounds, *lasting], tail), values
    if filters.recipient is not None or filters.metadata:
        lasting = [f"message_id IN ({select('message_id', 'messages', [*bounds, *lasting])})"]
    return select("message_id", "messages FINAL", [*bounds, *lasting, *merged], f"{order} {limit}"), values


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
