"""`/v1/dead-letters`: what has failed for good, by page, by cause, and one (R29)."""

from fastapi import APIRouter, Response

from chassis.http import ApiError, json_response
from services.analytics.api.asking import Asked, ProjectId, page
from services.analytics.domain.answers import list_view
from services.analytics.domain.cursors import message_cursor
from services.analytics.domain.dead_letters import (
    LetterFilters,
    LettersQuery,
    group_view,
    groups_query,
    letter_view,
    letters_query,
)
from services.analytics.domain.parameters import no_parameters
from services.analytics.ports import DeadLetterReads


def dead_letter_routes(reads: DeadLetterReads) -> APIRouter:
    router = APIRouter()

    @router.get("/dead-letters")
    async def letters(project_id: ProjectId, asked: Asked) -> Response:
        query = letters_query(asked)
        found = await reads.letters(project_id, query, count=query.limit + 1)
        fingerprint = query.filters.fingerprint
        return page(found, query.limit, letter_view, lambda last: message_cursor(last.message_id, fingerprint))

    @router.get("/dead-letters/groups")
    async def groups(project_id: ProjectId, asked: Asked) -> Response:
        found = await reads.groups(project_id, groups_query(asked))
        return json_response(list_view([group_view(group) for group in found], has_more=False, next_cursor=None))

    @router.get("/dead-letters/{message_id}")
    async def letter(message_id: str, project_id: ProjectId, asked: Asked) -> Response:
        no_parameters(asked)
        query = LettersQuery(LetterFilters(message_ids=(message_id,)), 1, None)
        found = await reads.letters(project_id, query, count=1)
        if not found:
            hint = "Only what bounced or expired is one, a moment after it did."
            raise ApiError(404, "not_found", "There is no such dead letter.", hint)
        return json_response(letter_view(found[0]))

    return router
