"""`/v1/sandbox/messages`: what test keys sent, as a mailbox would hold it (R13)."""

from fastapi import Request, Response

from chassis.http import ApiError, json_response
from services.analytics.domain.cursors import fingerprint, message_cursor
from services.analytics.domain.filters import Parameters, no_parameters, sandbox_query
from services.analytics.domain.sandbox import mail_view, mail_with_content
from services.analytics.domain.views import list_view
from services.analytics.ports import Reads


class SandboxApi:
    """Parameters in, answers out."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def listed(self, project_id: str, request: Request) -> Response:
        query = sandbox_query(_parameters(request))
        found = await self._reads.sandbox_mails(project_id, query, count=query.limit + 1)
        page, has_more = found[: query.limit], len(found) > query.limit
        cursor = message_cursor(page[-1].message_id, fingerprint(repr(query.recipient))) if has_more else None
        return json_response(list_view([mail_view(mail) for mail in page], has_more=has_more, next_cursor=cursor))

    async def one(self, project_id: str, message_id: str, request: Request) -> Response:
        no_parameters(_parameters(request))
        mail = await self._reads.sandbox_mail(project_id, message_id)
        if mail is None:
            hint = "It is there a moment after the outcome, and for three days; only mail that was taken is."
            raise ApiError(404, "not_found", "There is no such mail in the sandbox.", hint)
        return json_response(mail_with_content(mail))


def _parameters(request: Request) -> Parameters:
    return request.query_params.multi_items()
