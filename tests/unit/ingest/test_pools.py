"""Pools and their reputation (R20)."""

from typing import Any

from schemas.routing import PathHealth, SenderAlive
from services.ingest.domain.pools import ALIVE_MS, MIN_SAMPLE, STALE_MS, pool_shown

NOW = 1_790_000_000_000
WINDOW = 300_000


def health(instance: str, **more: Any) -> PathHealth:
    values: dict[str, Any] = {"source_address": "192.0.2.10", "provider_group": "google", "taken_at_ms": NOW} | more
    return PathHealth(pool="main", instance=instance, path="mx:main", window_ms=WINDOW, **values)


def shown(*rows: PathHealth, whole: bool = True, senders: tuple[SenderAlive, ...] = ()) -> dict[str, Any]:
    return pool_shown("main", senders, rows, NOW, whole=whole)


def test_ratios_of_all_senders_together() -> None:
    one = health("s1", delivered=150, deferred=30, bounced=20, blocked=10, complaints=3, connections=2, limit=5)
    two = health("s2", delivered=50, deferred=100, bounced=50, connections=1, limit=4)
    (row,) = shown(one, two)["reputation"]
    assert row["sample"] == 400
    assert (row["delivered_ratio"], row["deferred_ratio"], row["bounced_ratio"]) == (0.5, 0.325, 0.175)
    assert (row["blocked_ratio"], row["complaint_ratio"]) == (0.025, 0.015)
    assert (row["connections"], row["connection_limit"], row["window"]) == (3, 9, "300s")


def test_a_handful_of_mails_says_nothing() -> None:
    (row,) = shown(health("s1", delivered=MIN_SAMPLE - 1))["reputation"]
    assert (row["sample"], row["delivered_ratio"]) == (MIN_SAMPLE - 1, None)
    (row,) = shown(health("s1", bounced=MIN_SAMPLE))["reputation"]
    assert (row["bounced_ratio"], row["complaint_ratio"]) == (1.0, None)


def test_each_source_address_has_a_reputation_of_its_own_at_each_provider() -> None:
    rows = shown(health("s1"), health("s1", source_address="192.0.2.11"), health("s1", provider_group="yahoo"))
    assert [(row["source_address"], row["provider_group"]) for row in rows["reputation"]] == [
        ("192.0.2.10", "google"),
        ("192.0.2.10", "yahoo"),
        ("192.0.2.11", "google"),
    ]


def test_what_a_sender_that_is_gone_said_is_forgotten() -> None:
    assert shown(health("s1", taken_at_ms=NOW - WINDOW - STALE_MS - 1))["reputation"] == []
    beats = [SenderAlive(pool="main", instance=f"s{age}", at_ms=NOW - age, paths=[]) for age in (0, ALIVE_MS + 1)]
    other = SenderAlive(pool="other", instance="s", at_ms=NOW, paths=[])
    assert [sender["instance"] for sender in shown(senders=(*beats, other))["senders"]] == ["s0"]


def test_what_a_mail_server_said_is_for_whoever_runs_the_installation() -> None:
    """A reply may hold a recipient's address."""
    row = health("s1", evidence="421 too fast for ada@example.org", closed_until_ms=NOW + 1000)
    assert shown(row)["reputation"][0]["evidence"] == "421 too fast for ada@example.org"
    assert shown(row, whole=False)["reputation"][0]["evidence"] is None
