"""Who may come in (R13, R14): by the key table under its freshness lease, within the rate limit.

It must never decide from a table that may have missed a revocation, nor refuse everybody because a counter is away.
"""

from collections.abc import Collection

from chassis.clock import Clock
from services.ingest.domain.access import Caller, Scope, bearer_of, invalid_key, require
from services.ingest.domain.faults import Refused
from services.ingest.domain.keys import hash_of, well_formed
from services.ingest.domain.networks import neighbourhood
from services.ingest.ports import Allowance, Freshness, Keys, KeyUsage, RateLimits, SharedRateLimits

# Requests a minute from one address that come without a good key: enough for a client with a typing error, too few
# to guess keys with (D81). Good keys are never counted here.
ANONYMOUS_PER_MINUTE = 300
# Requests a minute from one address for unsubscribe links: a mail provider has few addresses, and many recipients.
LINKS_PER_MINUTE = 1200
WAIT_SECONDS = 1  # tables catch up within a second, or the brokers are away


class TooMany(Refused):
    """429, until the bucket's window ends."""

    def __init__(self, allowance: Allowance, now_s: int) -> None:
        after = max(1, allowance.reset_at - now_s)
        super().__init__("rate_limited", "Too many requests.", retry_after=after)


class Admission:
    """Authenticates and counts. Without `shared` counters, or while they are away, each replica grants its part."""

    def __init__(
        self,
        clock: Clock,
        freshness: Freshness,
        keys: Keys,
        usage: KeyUsage,
        limits: RateLimits,
        *,
        replicas: int,
        shared: SharedRateLimits | None = None,
    ) -> None:
        self._clock = clock
        self._freshness = freshness
        self._keys = keys
        self._usage = usage
        self._limits = limits
        self._replicas = replicas
        self._shared = shared

    async def authenticate(self, authorization: str | None, address: str) -> Caller:
        """Raises Refused: 401; 403 from an address that the key is not for; 503 where a revocation might have been missed."""
        text = bearer_of(authorization)
        digest = hash_of(text)
        if self._keys.by_hash(digest) is None and not well_formed(
            text
        ):  # a known key is: its checksum is not asked for
            raise invalid_key()
        if not await self._freshness.wait_fresh():
            raise Refused("unavailable", "Keys can not be checked at this moment.", retry_after=WAIT_SECONDS)
        key = self._keys.by_hash(digest)
        if key is None or not key.works_at(self._clock.now_ms()):
            raise invalid_key()
        key.check_address(address)
        self._usage.used(key.caller)
        return key.caller

    async def lapsed(self, key_hashes: Collection[str]) -> Collection[str]:
        """Which of these keys may be used no longer: all of them where a revocation might have been missed."""
        if not await self._freshness.wait_fresh():
            return key_hashes
        now_ms = self._clock.now_ms()
        known = {digest: self._keys.by_hash(digest) for digest in key_hashes}
        return {digest for digest, key in known.items() if key is None or not key.works_at(now_ms)}

    async def count(self, caller: Caller) -> Allowance:
        """One request of this key."""
        bucket, per_minute = f"key:{caller.key_id}", self._keys.per_minute(caller)
        if self._shared is not None and (allowance := await self._shared.take(bucket, per_minute)) is not None:
            return allowance
        return self._limits.take(bucket, self._share(per_minute))

    def look(self, address: str) -> Allowance:
        """What stands on an answer that no key was found for."""
        return self._limits.look(f"address:{neighbourhood(address)}", self._share(ANONYMOUS_PER_MINUTE))

    def count_stranger(self, address: str) -> Allowance:
        """One request without a good key: counted here and not where replicas share, which a flood must not reach."""
        return self._limits.take(f"address:{neighbourhood(address)}", self._share(ANONYMOUS_PER_MINUTE))

    def count_link(self, address: str) -> Allowance:
        """One request that has a link instead of a key."""
        return self._limits.take(f"link:{neighbourhood(address)}", self._share(LINKS_PER_MINUTE))

    def _share(self, per_minute: int) -> int:
        """Each replica counts for itself, so each grants its part."""
        return max(1, per_minute // self._replicas)


def check(caller: Caller, allowance: Allowance, scope: Scope, now_s: int) -> None:
    """Raises Refused: 429 before 403, so that a scope can not be probed for free."""
    if not allowance.allowed:
        raise TooMany(allowance, now_s)
    require(caller, scope)
