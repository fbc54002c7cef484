"""The calls of webhook endpoints: as rows, and as a list of one endpoint (R31)."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import orjson

from schemas.webhooks import WebhookAttempt
from services.analytics.domain.cursors import AttemptCursor, fingerprint, read_attempt_cursor
from services.analytics.domain.parameters import Parameters, Reader, one_of, text_value
from services.analytics.domain.rows import Position, moment


class AttemptRow(NamedTuple):
    """One call of a webhook endpoint. `attempt` is the record's `data` as JSON."""

    position: Position
    project_id: str
    endpoint_id: str
    at: int
    attempt_id: str
    attempt: str

    @property
    def time_ms(self) -> int:
        return self.at


@dataclass(frozen=True, slots=True)
class EndpointAttempt:
    """One call of a webhook endpoint: where it stands in the list, and what to show."""

    cursor: AttemptCursor
    document: str


@dataclass(frozen=True, slots=True)
class AttemptsQuery:
    """The calls of one endpoint. `arrived` None is all of them."""

    endpoint_id: str
    arrived: bool | None
    event_id: str | None
    limit: int
    after: AttemptCursor | None

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.endpoint_id, repr(self.arrived), repr(self.event_id))


def attempt_row(data: WebhookAttempt, project_id: str, position: Position) -> AttemptRow:
    """The row of a webhook attempt. Raises ValueError where it has no place."""
    document = orjson.dumps(data.model_dump(mode="json", by_alias=True)).decode()
    return AttemptRow(position, project_id, data.endpoint_id, moment(data.at), data.id, document)


def attempts_query(parameters: Parameters, endpoint_id: str) -> AttemptsQuery:
    """`GET /v1/webhooks/{id}/attempts`. Raises InvalidQuery."""
    reader = Reader(parameters)
    status = reader.take("status", one_of(("succeeded", "failed")))
    asked = AttemptsQuery(
        endpoint_id,
        arrived=None if status is None else status == "succeeded",
        event_id=reader.take("event_id", text_value),
        limit=reader.limit(),
        after=None,
    )
    after = reader.after(lambda text: read_attempt_cursor(text, asked.fingerprint))
    reader.finish()
    return replace(asked, after=after)
