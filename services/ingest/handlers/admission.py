"""Who is asking, may they, and not too often (R13, R14): before anything else of a request is looked at."""

from services.ingest.domain.access import Caller, Scope, bearer_of, caller_of, invalid_key, require
from services.ingest.domain.faults import Refused
from services.ingest.domain.keys import hash_of, well_formed
from services.ingest.ports import Allowance, Freshness, Keys, RateLimits

# Requests a minute from one address that come without a good key: enough for a client with a typing error, too few
# to guess keys with (D81). Good keys are never counted here.
ANONYMOUS_PER_MINUTE = 300
WAIT_SECONDS = 1  # tables catch up within a second, or the brokers are away


class TooMany(Refused):
    """429, with the state of the bucket that ran out."""

    def __init__(self, allowance: Allowance, now_s: int) -> None:
        after = max(1, allowance.reset_at - now_s)
        super().__init__("rate_limited", "Too many requests.", retry_after=after)
        self.allowance = allowance


class Admission:
    """Authenticates by the key table, under its freshness lease, and counts."""

    def __init__(self, freshness: Freshness, keys: Keys, limits: RateLimits, *, replicas: int) -> None:
        self._freshness = freshness
        self._keys = keys
        self._limits = limits
        self._replicas = replicas

    def look(self, address: str) -> Allowance:
        """What stands on an answer that no key was found for."""
        return self._limits.look(f"address:{address}", self._share(ANONYMOUS_PER_MINUTE))

    async def authenticate(self, authorization: str | None) -> Caller:
        """Raises Refused: 401; 503 where a revocation might have been missed."""
        text = bearer_of(authorization)
        if not well_formed(text):
            raise invalid_key()
        if not await self._freshness.wait_fresh():
            raise Refused("unavailable", "Keys can not be checked at this moment.", retry_after=WAIT_SECONDS)
        key = self._keys.by_hash(hash_of(text))
        if key is None or key.revoked_at is not None:
            raise invalid_key()
        return caller_of(key)

    def count(self, caller: Caller) -> Allowance:
        return self._limits.take(f"key:{caller.key_id}", self._share(caller.requests_per_minute))

    def count_stranger(self, address: str) -> Allowance:
        return self._limits.take(f"address:{address}", self._share(ANONYMOUS_PER_MINUTE))

    def _share(self, per_minute: int) -> int:
        """Each replica counts for itself, so each grants its part."""
        return max(1, per_minute // self._replicas)


def check(caller: Caller, allowance: Allowance, scope: Scope, now_s: int) -> None:
    """Raises Refused: 429 before 403, so that a scope can not be probed for free."""
    if not allowance.allowed:
        raise TooMany(allowance, now_s)
    require(caller, scope)
