"""`/v1/sandbox/messages`: what test keys sent, as a mailbox would hold it (R13)."""

from fastapi import APIRouter, Response

from chassis.http import ApiError, json_response
from services.analytics.api.asking import Asked, ProjectId, page
from services.analytics.domain.cursors import message_cursor
from services.analytics.domain.parameters import no_parameters
from services.analytics.domain.sandbox import mail_view, mail_with_content, sandbox_query
from services.analytics.ports import SandboxReads


def sandbox_routes(reads: SandboxReads) -> APIRouter:
    router = APIRouter()

    @router.get("/sandbox/messages")
    async def mails(project_id: ProjectId, asked: Asked) -> Response:
        query = sandbox_query(asked)
        found = await reads.sandbox_mails(project_id, query, count=query.limit + 1)
        return page(found, query.limit, mail_view, lambda last: message_cursor(last.message_id, query.fingerprint))

    @router.get("/sandbox/messages/{message_id}")
    async def mail(message_id: str, project_id: ProjectId, asked: Asked) -> Response:
        no_parameters(asked)
        mail = await reads.sandbox_mail(project_id, message_id)
        if mail is None:
            hint = "It is there a moment after the outcome, and for three days; only mail that was taken is."
            raise ApiError(404, "not_found", "There is no such mail in the sandbox.", hint)
        return json_response(mail_with_content(mail))

    return router
