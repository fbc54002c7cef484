"""The sender's suppression index: the union over origins, and over the scopes that hold for a mail (R11, R12)."""

from collections.abc import Callable
from typing import cast

from chassis.table import Table, Tables
from schemas.tables import Suppression, suppression_key
from services.sender.adapters.suppressions import SuppressionIndex

Change = Callable[[str, Suppression | None, Suppression | None], None]


class Told:
    """A table, as the test says."""

    def __init__(self) -> None:
        self.notify: list[Change] = []

    def on_change(self, notify: Change) -> None:
        self.notify.append(notify)

    def change(self, before: Suppression | None, after: Suppression | None) -> None:
        entry = after or before
        assert entry is not None
        self.notify[0](suppression_key("prj_1", entry.recipient, entry.origin, entry.scope), before, after)


def entry(scope: str, created_at: str = "2026-09-21T14:13:20.123Z") -> Suppression:
    return Suppression(
        id=f"sup_{scope}",
        project_id="prj_1",
        scope=scope,
        recipient="ada@example.org",
        reason="unsubscribed",
        origin="unsubscribe",
        source_event_id=None,
        created_at=created_at,
    )


def test_a_mail_is_stopped_by_what_holds_for_its_tags() -> None:
    told = Told()
    index = SuppressionIndex(cast("Tables", None), cast("Table[Suppression]", told))
    news, everything = entry("news"), entry("*", "2026-09-20T00:00:00.000Z")
    told.change(None, news)
    assert index.find("prj_1", "Ada@example.org", ["otp", "news"]) == news
    assert index.find("prj_1", "ada@example.org", ["otp"]) is None
    assert index.find("prj_2", "ada@example.org", ["news"]) is None
    told.change(None, everything)
    assert index.find("prj_1", "ada@example.org", ["news"]) == everything  # the older of the two
    assert index.find("prj_1", "ada@example.org", []) == everything
    told.change(everything, None)
    told.change(news, None)
    assert index.find("prj_1", "ada@example.org", ["news"]) is None
