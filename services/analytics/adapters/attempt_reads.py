"""The question about the calls of an endpoint."""

from services.analytics.adapters.questions import Questions, Values, select
from services.analytics.domain.attempts import AttemptsQuery, EndpointAttempt
from services.analytics.domain.cursors import AttemptCursor


class ClickHouseAttempts:
    """The port `AttemptReads` on ClickHouse."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    async def attempts(self, project_id: str, query: AttemptsQuery, *, count: int) -> list[EndpointAttempt]:
        conditions, values = ["endpoint_id = {endpoint:String}"], Values(endpoint=query.endpoint_id, count=count)
        if query.arrived is not None:
            conditions.append(f"JSONExtractString(attempt, 'outcome') {'=' if query.arrived else '!='} 'succeeded'")
        if query.event_id is not None:
            conditions.append("JSONExtractString(attempt, 'event_id') = {event:String}")
            values["event"] = query.event_id
        if query.after is not None:
            conditions.append("(at, attempt_id) < (fromUnixTimestamp64Milli({at:Int64}, 'UTC'), {id:String})")
            values |= {"at": query.after.at_ms, "id": query.after.attempt_id}
        statement = select(
            "toUnixTimestamp64Milli(at), attempt_id, attempt",
            "webhook_attempts FINAL",
            conditions,
            "ORDER BY project_id, endpoint_id, at DESC, attempt_id DESC LIMIT {count:UInt32}",
        )
        rows = await self._questions.ask("attempts", statement, project_id, values)
        return [EndpointAttempt(AttemptCursor(at_ms, attempt_id), document) for at_ms, attempt_id, document in rows]
