"""The questions about messages: a page of them, one, and its timeline."""

from collections.abc import Mapping
from typing import Any

from services.analytics.adapters.message_search import FOUND_BY, MADE_THEN, FoundBy, MessageSearch, made_when
from services.analytics.adapters.questions import Questions, Values, select
from services.analytics.domain.message_filters import MessagesQuery
from services.analytics.domain.messages import Message, Outcome

# `latest` and `outcome` whole, never a part of them (m0001_tables.py says why).
_MERGED = """
    message_id, recipient, mail_from, mail_subject, tags, metadata, toUnixTimestamp64Milli(created_at) AS created_ms,
    attempts, latest, outcome
"""
_CHOSEN = ["message_id IN {ids:Array(String)}", *MADE_THEN]
_ONE_THREAD = "SETTINGS max_threads = 1"  # for a few rows more of them cost more than they do
_MESSAGES = select(_MERGED, "messages FINAL", _CHOSEN, f"ORDER BY message_id DESC {_ONE_THREAD}", where="PREWHERE")
_FOUND_BY = select(
    f"message_id, {FOUND_BY}",
    "message_index",
    _CHOSEN,
    f"GROUP BY message_id {_ONE_THREAD}",
    where="PREWHERE",
)
_NOT_THERE_YET = ("", "", "", "")  # views follow one another: a row may be in one table and not in the other


class ClickHouseMessages:
    """The port `MessageReads` on ClickHouse."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._search = MessageSearch(questions)

    async def messages(self, project_id: str, query: MessagesQuery, *, count: int) -> list[Message]:
        """The page's ids are found first, on few columns; only they are read whole and merged."""
        found = await self._search.found(project_id, query, count=count)
        return await self._read("messages", project_id, found) if found else []

    async def message(self, project_id: str, message_id: str) -> Message | None:
        found = await self._read("message", project_id, {message_id: None})
        return found[0] if found else None

    async def timeline(self, project_id: str, message_id: str, last_sequence: int) -> list[str]:
        conditions = ["subject = {id:String}", "sequence <= {last:UInt32}"]
        statement = select("event", "events_raw FINAL", conditions, "ORDER BY sequence", where="PREWHERE")
        values: Values = {"id": message_id, "last": last_sequence}
        return [event for (event,) in await self._questions.ask("timeline", statement, project_id, values)]

    async def belongs_elsewhere(self, project_id: str, message_id: str) -> bool:
        # The one look across projects: it tells that an id is taken, and nothing of it.
        statement = "SELECT 1 FROM messages WHERE project_id != {project:String} AND message_id = {id:String} LIMIT 1"
        return bool(await self._questions.ask("belongs_elsewhere", statement, project_id, {"id": message_id}))

    async def _read(self, name: str, project_id: str, found: Mapping[str, FoundBy | None]) -> list[Message]:
        """At most two questions: a JOIN of the two costs more than both."""
        values: Values = {"ids": list(found), **made_when(list(found))}
        rows = await self._questions.ask(name, _MESSAGES, project_id, values)
        found_by: Mapping[str, Any] = found
        if None in found.values():
            asked = await self._questions.ask(name, _FOUND_BY, project_id, values)
            found_by = {message_id: tuple(read) for message_id, *read in asked}
        return [_message(row, found_by.get(row[0], _NOT_THERE_YET)) for row in rows]


def _message(row: tuple[Any, ...], found_by: FoundBy) -> Message:
    message_id, recipient, sender, subject, tags, metadata, created_at, attempts, latest, outcome = row
    template, channel, environment, path = found_by
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
        template=template,
        channel=channel,
        environment=environment,
        path=path,
    )
