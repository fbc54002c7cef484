"""The feed as server-sent events (WHATWG HTML, 9.2): each with the cursor behind it as its id, so that nothing is missed
when a client comes back. Text only: this module must never decide what comes next.
"""

from services.analytics.domain.cursors import Positions, feed_cursor

RETRY_MS = 2_000  # until a client comes back by itself
# A comment, and no empty line: that would end an event, and some readers would hand out an empty one.
HEARTBEAT = b":\n"


def opening(positions: Positions) -> bytes:
    """The first block has an id and no event: who loses the connection before any event goes on here, also with `after=now`."""
    return f"retry: {RETRY_MS}\nid: {feed_cursor(positions)}\n\n".encode()


def block(kind: str, event: str, behind: Positions) -> bytes:
    """One event. `event` is a line of JSON, as it stands in Kafka."""
    return f"id: {feed_cursor(behind)}\nevent: {kind}\ndata: {event}\n\n".encode()
