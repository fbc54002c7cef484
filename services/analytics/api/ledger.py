"""`/v1/ledger`: what became of everything accepted, hour by hour, from both sides (R37)."""

import asyncio

from fastapi import APIRouter, Response

from chassis.clock import Clock
from chassis.http import json_response
from services.analytics.api.asking import Asked, ProjectId
from services.analytics.audit import Audit
from services.analytics.domain.ledger import ledger_query, ledger_view
from services.analytics.ports import LogAway, StoreUnavailable


def ledger_routes(audit: Audit, clock: Clock, *, deadline: float) -> APIRouter:
    router = APIRouter()

    @router.get("/ledger")
    async def ledger(project_id: ProjectId, asked: Asked) -> Response:
        hours = ledger_query(asked, clock.now_ms())
        try:
            async with asyncio.timeout(deadline):
                found = await audit.balances(hours, project_id)
        except (LogAway, TimeoutError) as error:  # the log is away, or is being counted from its beginning
            raise StoreUnavailable(f"the log is not counted yet: {error}") from error
        return json_response(ledger_view(found))

    return router
