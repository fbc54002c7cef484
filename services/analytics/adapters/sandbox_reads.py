"""The questions about the sandbox's inbox."""

from typing import Any

from services.analytics.adapters.questions import Conditions, Questions, Values, select, tuple_parts
from services.analytics.domain.rows import Position
from services.analytics.domain.sandbox import SandboxQuery, SandboxRow

_SANDBOX_MAIL = """
    tuple(_topic, _partition, _offset), project_id, message_id, toUnixTimestamp64Milli(taken_at), recipient, mail_from,
    mail_subject, attempt, outcome, size, truncated
"""


class ClickHouseSandbox:
    """The port `SandboxReads` on ClickHouse."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    async def sandbox_mails(self, project_id: str, query: SandboxQuery, *, count: int) -> list[SandboxRow]:
        conditions, values = Conditions(), Values(count=count)
        if query.after is not None:
            conditions.append("message_id < {after:String}")
            values["after"] = query.after
        if query.recipient is not None:
            conditions.append("lowerUTF8(recipient) = lowerUTF8({recipient:String})")
            values["recipient"] = query.recipient
        tail = "ORDER BY project_id, message_id DESC LIMIT {count:UInt32}"
        statement = select(f"{_SANDBOX_MAIL}, ''", "sandbox_mails FINAL", conditions, tail)
        return [_sandbox_mail(row) for row in await self._questions.ask("sandbox_mails", statement, project_id, values)]

    async def sandbox_mail(self, project_id: str, message_id: str) -> SandboxRow | None:
        conditions = ["message_id = {id:String}"]
        statement = select(f"{_SANDBOX_MAIL}, mime", "sandbox_mails FINAL", conditions, where="PREWHERE")
        rows = await self._questions.ask("sandbox_mail", statement, project_id, {"id": message_id})
        return _sandbox_mail(rows[0]) if rows else None


def _sandbox_mail(row: tuple[Any, ...]) -> SandboxRow:
    position, *fields = row
    return SandboxRow(Position(*tuple_parts(position)), *fields)
