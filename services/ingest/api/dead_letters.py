"""`/v1/dead-letters`: what has failed for good, as the read side shows it, and sending it once more."""

from collections.abc import Callable

from fastapi import APIRouter, Request, Response

from chassis.budget import ByteBudget, Room
from chassis.http import Endpoint, request_id_of
from services.ingest.api.bodies import MAX_SMALL_BODY_OCTETS, read_body
from services.ingest.api.edge import Gate
from services.ingest.api.messages import accepted, idempotency_keys, passed_on
from services.ingest.domain.access import Caller
from services.ingest.handlers import AcceptMessage, SendRequest
from services.ingest.management.reads import ReadThrough
from services.ingest.redrives import Failed, ManyRedrives, OneRedrive
from services.ingest.sendings import Sending

Asked = Callable[[Request, Caller, Room], Sending]


def dead_letters_router(
    gate: Gate, reads: ReadThrough, accept: AcceptMessage, failed: Failed, memory: ByteBudget
) -> APIRouter:
    router = APIRouter(prefix="/v1")

    async def listed(request: Request) -> Response:
        caller = await gate.admit(request, "messages.read")
        return passed_on(await reads.dead_letters(caller, request.url.query, request_id_of(request)))

    async def groups(request: Request) -> Response:
        caller = await gate.admit(request, "messages.read")
        return passed_on(await reads.dead_letter_groups(caller, request.url.query, request_id_of(request)))

    async def one(request: Request) -> Response:
        caller = await gate.admit(request, "messages.read")
        message_id = request.path_params["message_id"]
        return passed_on(await reads.dead_letter(caller, message_id, request.url.query, request_id_of(request)))

    def redrive(sending: Asked) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            caller = await gate.admit(request, "messages.send")
            raw = await read_body(request, MAX_SMALL_BODY_OCTETS)
            asked = SendRequest(caller, raw, idempotency_keys(request), request_id_of(request))
            with memory.room() as room:
                return accepted(await accept.take(asked, sending(request, caller, room)))

        return endpoint

    def redrive_one(request: Request, caller: Caller, room: Room) -> Sending:
        return OneRedrive(accept.drafting, failed, caller, request.path_params["message_id"], room)

    def redrive_many(_: Request, caller: Caller, room: Room) -> Sending:
        return ManyRedrives(accept.drafting, failed, caller, room)

    router.add_api_route("/dead-letters", listed, methods=["GET", "HEAD"])
    router.add_api_route("/dead-letters/groups", groups, methods=["GET", "HEAD"])
    router.add_api_route("/dead-letters/redrive", redrive(redrive_many), methods=["POST"])
    router.add_api_route("/dead-letters/{message_id}", one, methods=["GET", "HEAD"])
    router.add_api_route("/dead-letters/{message_id}/redrive", redrive(redrive_one), methods=["POST"])
    return router
