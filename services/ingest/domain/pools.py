"""Pools (R20): the senders that are there, and the reputation of each source address at each provider. Pure.

Ratios of a handful of mails say nothing, so below a minimum sample they are null.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from schemas.envelope import to_timestamp
from schemas.routing import PathHealth, SenderAlive
from services.ingest.domain.paths import DIRECT

MIN_SAMPLE = 100  # mails
ALIVE_MS = 10_000  # a heartbeat comes each second; machines' clocks differ
STALE_MS = 60_000  # beyond its window: the sender is gone, or has nothing to say


def pool_shown(pool: str, senders: Iterable[SenderAlive], health: Iterable[PathHealth], now_ms: int, *, whole: bool) -> dict[str, Any]:  # fmt: skip
    """`whole`: also what mail servers said, in which addresses of recipients may stand: for whoever runs the installation."""
    alive = sorted(
        (sender for sender in senders if sender.pool == pool and now_ms - sender.at_ms <= ALIVE_MS),
        key=lambda sender: sender.instance,
    )
    seen = [row for row in health if row.pool == pool and now_ms - row.taken_at_ms <= row.window_ms + STALE_MS]
    return {
        "id": pool,
        "path": f"{DIRECT}{pool}",
        "senders": [
            {"instance": sender.instance, "seen_at": to_timestamp(sender.at_ms), "paths": sender.paths}
            for sender in alive
        ],
        "reputation": _reputation(seen, whole=whole),
    }


def _reputation(health: Iterable[PathHealth], *, whole: bool) -> list[dict[str, Any]]:
    """A row for each path, source address and provider group; all senders of it taken together."""
    rows: dict[tuple[str, str, str], list[PathHealth]] = {}
    for row in health:
        rows.setdefault((row.path, row.source_address or "", row.provider_group), []).append(row)
    return [_row(rows[key], whole=whole) for key in sorted(rows)]


def _row(seen: Sequence[PathHealth], *, whole: bool) -> dict[str, Any]:
    delivered, deferred, bounced, blocked, complaints = (
        sum(getattr(row, name) for row in seen)
        for name in ("delivered", "deferred", "bounced", "blocked", "complaints")
    )
    sample = delivered + deferred + bounced
    latest = max(seen, key=lambda row: row.taken_at_ms)
    closed = max((row.closed_until_ms for row in seen if row.closed_until_ms is not None), default=None)
    evidence = next((row.evidence for row in seen if row.evidence is not None), None)
    return {
        "path": latest.path,
        "source_address": latest.source_address,
        "provider_group": latest.provider_group,
        "sample": sample,
        "delivered_ratio": _ratio(delivered, sample, sample),
        "deferred_ratio": _ratio(deferred, sample, sample),
        "bounced_ratio": _ratio(bounced, sample, sample),
        "blocked_ratio": _ratio(blocked, sample, sample),
        "complaint_ratio": _ratio(complaints, delivered, sample),
        "window": f"{latest.window_ms // 1000}s",
        "taken_at": to_timestamp(latest.taken_at_ms),
        "connections": sum(row.connections for row in seen),
        "connection_limit": sum(row.limit for row in seen),
        "closed_until": None if closed is None else to_timestamp(closed),
        "evidence": evidence if whole else None,
    }


def _ratio(part: int, of: int, sample: int) -> float | None:
    return round(part / of, 4) if sample >= MIN_SAMPLE and of > 0 else None
