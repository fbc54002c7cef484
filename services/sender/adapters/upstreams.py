"""The smarthosts that the control plane knows, from the table that ingest writes (R20).

Like signing keys they are read to their end before mail goes out, and may lag after that. It must never log a password,
nor send a project's mail through another project's upstream.
"""

from ipaddress import ip_address

from chassis.clock import Clock
from chassis.log import Log, LogUnavailable
from chassis.sealing import Seals, WrongSealingKey
from chassis.table import Table
from chassis.tail import Tail
from chassis.telemetry import logger
from schemas.deliveries import Delivery
from schemas.routing import Upstream
from schemas.topics import TOPICS
from services.sender.adapters.resolver import CachedResolver
from services.sender.domain.mx import Guard, targets_of
from services.sender.domain.outcome import Outcome
from services.sender.ports import PathDown, PathLimits, Server, Way

_TOPIC = TOPICS["upstreams"]
_LOOK_AGAIN = 5.0  # seconds until a line in the log says that they are still being read

_log = logger("upstreams")


class UpstreamWays:
    """A part of the service (`chassis.service.Part`)."""

    def __init__(
        self,
        log: Log,
        tail: Tail,
        clock: Clock,
        seals: Seals | None,
        *,
        pool: str,
        resolver: CachedResolver,
        guard: Guard,
    ) -> None:
        self._tail = tail
        self._clock = clock
        self._seals = seals
        self._pool = pool
        self._resolver = resolver
        self._guard = guard
        self._upstreams: Table[Upstream] = Table(_TOPIC, Upstream, log, tail, clock)
        self._upstreams.on_change(self._changed)
        self._passwords: dict[str, str | None] = {}  # opened when they are first used

    async def start(self) -> None:
        """Returns when it knows those there were at the call; waits for the brokers as long as it takes."""
        await self._tail.follow(_TOPIC.name, 0, self._upstreams.apply)
        for (topic, partition), end in (await self._tail.end_offsets([(_TOPIC.name, 0)])).items():
            await self._caught_up(topic, partition, end)

    async def stop(self) -> None:
        """The tail ends by itself."""

    def paths(self) -> list[str]:
        """Those that this pool's senders take."""
        return [
            upstream.id
            for upstream in self._upstreams.values()
            if upstream.deleted_at is None and upstream.pool == self._pool
        ]

    async def of(self, path: str, delivery: Delivery, project_id: str) -> Way | PathDown:
        upstream = self._upstreams.get(path)
        if upstream is None or upstream.deleted_at is not None:
            return PathDown("no such upstream")
        if upstream.pool != self._pool:
            return PathDown("the upstream is of another pool")
        if upstream.project_id not in {"", project_id}:
            return PathDown("the upstream is of another project")
        try:
            password = self._password(upstream)
        except WrongSealingKey as error:
            _log.error("upstream_password_unusable", upstream=upstream.id, reason=str(error))
            return PathDown("its password can not be opened")
        addresses = await self._addresses(upstream)
        if isinstance(addresses, PathDown):
            return addresses
        servers = tuple(_server(upstream, password, address, delivery) for address in addresses)
        limits = PathLimits(upstream.connections, upstream.messages_per_connection, upstream.per_second)
        return Way(path, path, servers=servers, limits=limits)

    async def _addresses(self, upstream: Upstream) -> tuple[str | None, ...] | PathDown:
        """The installation's own may lie anywhere. One that a project has named must not lead into our network.

        What its name leads to, or not, says nothing of the recipient: the path is down.
        """
        if not upstream.project_id:
            return (None,)
        host = upstream.host.strip("[]").lower()
        found = [host] if _is_address(host) else await self._resolver.addresses(host)
        targets = targets_of(host, [host], {host: found}, self._guard)
        if isinstance(targets, Outcome):
            return PathDown(targets.reply or "its host has no address")
        return tuple(address for _, address in targets)

    def _password(self, upstream: Upstream) -> str | None:
        """Raises WrongSealingKey."""
        if upstream.sealed_password is None:
            return None
        if upstream.id not in self._passwords:
            if self._seals is None:
                raise WrongSealingKey("no sealing key is configured")
            self._passwords[upstream.id] = self._seals.open(upstream.sealed_password)
        return self._passwords[upstream.id]

    def _changed(self, key: str, _before: Upstream | None, after: Upstream | None) -> None:
        _log.info("upstream_changed", upstream=key, version=None if after is None else after.version)
        self._passwords.pop(key, None)

    async def _caught_up(self, topic: str, partition: int, end: int) -> None:
        while True:
            try:
                return await self._tail.applied(topic, partition, end - 1, within=_LOOK_AGAIN)
            except LogUnavailable as error:
                _log.warning("upstreams_not_read", reason=str(error))
                await self._clock.sleep(_LOOK_AGAIN)


def _server(upstream: Upstream, password: str | None, address: str | None, delivery: Delivery) -> Server:
    """Of what the upstream and the route ask for, the stricter."""
    return Server(
        upstream.host,
        upstream.port,
        "required" if "required" in {upstream.tls, delivery.tls} else "opportunistic",
        upstream.username,
        password,
        address=address,
        version=upstream.version,
    )


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
