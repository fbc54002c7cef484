"""`/v1/webhooks/{id}/attempts`: what was called, and what was answered (R31)."""

from fastapi import APIRouter, Response

from services.analytics.api.asking import Asked, ProjectId, page
from services.analytics.domain.answers import raw
from services.analytics.domain.attempts import attempts_query
from services.analytics.domain.cursors import attempt_cursor
from services.analytics.ports import AttemptReads


def attempt_routes(reads: AttemptReads) -> APIRouter:
    router = APIRouter()

    @router.get("/webhooks/{endpoint_id}/attempts")
    async def attempts(endpoint_id: str, project_id: ProjectId, asked: Asked) -> Response:
        query = attempts_query(asked, endpoint_id)
        found = await reads.attempts(project_id, query, count=query.limit + 1)
        return page(
            found,
            query.limit,
            lambda attempt: raw(attempt.document),
            lambda last: attempt_cursor(last.cursor, query.fingerprint),
        )

    return router
