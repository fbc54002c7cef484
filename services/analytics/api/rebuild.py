"""`/internal/rebuild`: for the command of the same name, on this machine's side of ingest. No key of a project opens it."""

import orjson
from fastapi import APIRouter, Request, Response

from chassis.clock import Clock
from chassis.http import ApiError, json_response
from chassis.principal import HEADER, verify
from services.analytics.ports import LogAway, StoreUnavailable
from services.analytics.rebuild import Rebuild, Refused

PATH = "/internal/rebuild"
SCOPE = "analytics.rebuild"  # no API key can have it


def rebuild_routes(rebuild: Rebuild, clock: Clock, *, secret: bytes) -> APIRouter:
    router = APIRouter()

    def authorise(request: Request) -> None:
        principal = verify(request.headers.get(HEADER, ""), secret, clock.now_ms())
        if principal is None or SCOPE not in principal.scopes:
            raise ApiError(401, "invalid_api_key", "Not a signed request.", "Use the command: it signs.")

    @router.get(PATH)
    async def progress(request: Request) -> Response:
        authorise(request)
        return json_response(_view(rebuild))

    @router.post(PATH)
    async def begin(request: Request) -> Response:
        authorise(request)
        asked = orjson.loads(await request.body() or b"{}")
        try:
            await rebuild.begin(accept_loss=asked.get("accept_loss") is True)
        except Refused as refusal:
            raise ApiError(409, "conflict", str(refusal), "Nothing was begun.") from refusal
        except LogAway as error:
            raise StoreUnavailable(str(error)) from error
        return json_response(_view(rebuild), status=202)

    return router


def _view(rebuild: Rebuild) -> dict[str, object]:
    progress = rebuild.progress
    return {
        "step": progress.step,
        "run": progress.run and progress.run.run,
        "read": progress.read,
        "records": progress.records,
    }
