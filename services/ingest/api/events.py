"""`/v1/events`: pages and streams of the feed, both passed on from the read side (R35)."""

from fastapi import APIRouter, Request, Response

from chassis.http import request_id_of
from chassis.streaming import EVENT_STREAM, EndlessResponse
from services.ingest.api.edge import Gate
from services.ingest.api.messages import passed_on
from services.ingest.domain.access import bearer_of
from services.ingest.domain.keys import hash_of
from services.ingest.management.reads import ReadThrough
from services.ingest.ports import Reply
from services.ingest.streams import Streams


def events_router(gate: Gate, reads: ReadThrough, streams: Streams) -> APIRouter:
    router = APIRouter(prefix="/v1")

    async def events(request: Request) -> Response:
        caller = await gate.admit(request, "events.read")
        query, request_id = request.url.query, request_id_of(request)
        if request.method == "HEAD" or not _wants_stream(request):
            return passed_on(await reads.events(caller, query, request_id))
        stream = streams.open(caller.project_id, hash_of(bearer_of(request.headers.get("authorization"))))
        try:
            opened = await reads.event_stream(caller, query, request.headers.get("last-event-id"), request_id)
        except BaseException:
            streams.close(stream)
            raise
        if isinstance(opened, Reply):
            streams.close(stream)
            return passed_on(opened)

        def ended() -> None:
            opened.close()
            streams.close(stream)

        return EndlessResponse(opened.chunks(), stream.over, ended)

    router.add_api_route("/events", events, methods=["GET", "HEAD"])
    return router


def _wants_stream(request: Request) -> bool:
    kinds = request.headers.get("accept", "").lower().split(",")
    return any(kind.partition(";")[0].strip() == EVENT_STREAM for kind in kinds)
