"""Which servers a delivery goes to, by the path that the router chose (R20).

It must never send a mail another way than its path says: what this process does not have is told to the router.
"""

from dataclasses import replace

from schemas.deliveries import Delivery
from services.sender.adapters.direct import DirectWays
from services.sender.adapters.upstreams import UpstreamWays
from services.sender.domain.outcome import Outcome
from services.sender.domain.reports import path_of
from services.sender.ports import PathDown, Server, Way

UPSTREAM = "upstream"  # the smarthost of the environment
_DIRECT = "mx:"


class PathWays:
    """See `services.sender.ports.Ways`. `smarthost`: the environment's, where it names one."""

    def __init__(self, smarthost: Server | None, upstreams: UpstreamWays, direct: DirectWays, *, pool: str) -> None:
        self._smarthost = smarthost
        self._upstreams = upstreams
        self._direct = direct
        self._pool = pool

    async def of(self, delivery: Delivery, project_id: str) -> Way | Outcome | PathDown:
        path = path_of(delivery)
        if path == UPSTREAM:
            return self._by_smarthost(delivery)
        if path.startswith(_DIRECT):
            if path.removeprefix(_DIRECT) != self._pool:
                return PathDown("this sender is of another pool")
            return await self._direct.of(path, delivery)
        return await self._upstreams.of(path, delivery, project_id)

    def paths(self) -> list[str]:
        """Those that this process can take."""
        own = [f"{_DIRECT}{self._pool}", *self._upstreams.paths()]
        return own if self._smarthost is None else [UPSTREAM, *own]

    def _by_smarthost(self, delivery: Delivery) -> Way | PathDown:
        if self._smarthost is None:
            return PathDown("SENDER_UPSTREAM names no smarthost")
        stricter = "required" if "required" in {self._smarthost.tls, delivery.tls} else self._smarthost.tls
        return Way(UPSTREAM, UPSTREAM, servers=(replace(self._smarthost, tls=stricter),))
