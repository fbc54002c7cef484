"""Which servers a delivery goes to, by the path that the router chose (R20).

It must never send a mail another way than its path says: what this process does not have is told to the router.
"""

from schemas.deliveries import Delivery
from services.sender.domain.outcome import Outcome
from services.sender.domain.reports import path_of
from services.sender.ports import PathDown, Server, Way

UPSTREAM = "upstream"  # the smarthost of the environment


class PathWays:
    """See `services.sender.ports.Ways`."""

    def __init__(self, upstream: Server) -> None:
        self._upstream = upstream

    async def of(self, delivery: Delivery, project_id: str) -> Way | Outcome | PathDown:
        del project_id
        path = path_of(delivery)
        if path == UPSTREAM:
            return Way(path, path, servers=(self._upstream,))
        return PathDown("this sender does not have it")
