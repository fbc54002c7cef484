"""An answer without end, for streams of events: ended by its reader, by its source, or by the service.

It is sent as fast as its reader takes it: nothing of it is gathered here, so a slow reader slows its source.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

EVENT_STREAM = "text/event-stream"
_CLOSED_WITHIN = 0.5  # seconds
# A proxy in between must neither keep an event for itself nor wait for more of them.
_HEADERS = {"Content-Type": EVENT_STREAM, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class EndlessResponse(StreamingResponse):
    """Ends within a moment of `over` being set, also while its reader takes nothing. `at_end` is called whatever ended it."""

    def __init__(self, content: AsyncIterator[bytes], over: asyncio.Event, at_end: Callable[[], object]) -> None:
        super().__init__(content, headers=_HEADERS)
        self._over = over
        self._at_end = at_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        sending = asyncio.create_task(self.stream_response(send))
        gone = asyncio.create_task(self.listen_for_disconnect(receive))
        told = asyncio.create_task(self._told())
        ends = {sending, gone, told}
        try:
            first, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in ends:
                task.cancel()
            await asyncio.wait(ends)
            self._at_end()
        if first == {told}:
            await self._close(send)
        elif gone not in first:
            sending.result()  # a source that failed is a bug: it is logged as one

    async def _told(self) -> None:
        await self._over.wait()

    async def _close(self, send: Send) -> None:
        """In good order, where the reader still takes something; else it is cut off."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSED_WITHIN):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
