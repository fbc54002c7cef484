"""The suppression index: the union over origins, kept by what the table tells (R11)."""

from collections.abc import Callable
from typing import cast

from chassis.table import Table, Tables
from schemas.events import SuppressionOrigin, SuppressionReason
from schemas.tables import Suppression, suppression_key
from services.router.adapters.suppressions import SuppressionIndex
from services.router.domain.decision import Listed

Change = Callable[[str, Suppression | None, Suppression | None], None]


REASONS: dict[SuppressionOrigin, SuppressionReason] = {
    "api": "manual",
    "bounce": "hard_bounce",
    "complaint": "complaint",
    "unsubscribe": "unsubscribed",
}


class Told:
    """A table and its freshness, as the test says."""

    def __init__(self) -> None:
        self.notify: list[Change] = []
        self.comes = True

    def on_change(self, notify: Change) -> None:
        self.notify.append(notify)

    def fresh_within(self, seconds: float) -> bool:
        return False

    async def wait_fresh(self, seconds: float, *, within: float) -> bool:
        return self.comes

    def change(self, before: Suppression | None, after: Suppression | None) -> None:
        entry = after or before
        assert entry is not None
        self.notify[0](suppression_key("prj_1", entry.recipient, entry.origin, entry.scope), before, after)


def entry(
    origin: SuppressionOrigin, *, created: str = "2026-09-21T14:13:20.123Z", scope: str = "*"
) -> Suppression:  # fmt: skip
    return Suppression(
        id=f"sup_{origin}",
        project_id="prj_1",
        scope=scope,
        recipient="ada@example.org",
        reason=REASONS[origin],
        origin=origin,
        source_event_id=None,
        created_at=created,
    )


def index_of(told: Told) -> SuppressionIndex:
    return SuppressionIndex(cast("Tables", told), cast("Table[Suppression]", told))


def test_listed_while_any_origin_lists_it_and_the_oldest_is_the_reason() -> None:
    told = Told()
    index = index_of(told)
    by_hand, bounced = entry("api"), entry("bounce", created="2026-09-20T00:00:00.000Z")
    told.change(None, by_hand)
    told.change(None, bounced)
    assert index.listed("prj_1", "ada@example.org", []) == Listed("hard_bounce", None)
    told.change(bounced, None)
    assert index.listed("prj_1", "ada@example.org", []) == Listed("manual", None)
    assert index.id_of("prj_1", "ada@example.org") == "sup_api"
    told.change(by_hand, None)
    assert index.listed("prj_1", "ada@example.org", []) is None
    assert index.id_of("prj_2", "ada@example.org") is None


def test_a_tag_that_is_listed_stops_the_mail_of_that_tag_alone() -> None:
    """R11, R12: the union of what holds for the whole project and for the tags of the mail."""
    told = Told()
    index = index_of(told)
    told.change(None, entry("unsubscribe", scope="news"))
    assert index.listed("prj_1", "ada@example.org", ["shop", "news"]) == Listed("unsubscribed", None)
    assert index.listed("prj_1", "ada@example.org", ["otp"]) is None
    assert index.listed("prj_1", "ada@example.org", []) is None
    assert (
        index.id_of("prj_1", "ada@example.org") == "sup_unsubscribe"
    )  # its waiting mail is looked at, whatever the tag
    told.change(None, entry("bounce", created="2026-09-22T00:00:00.000Z"))
    assert index.listed("prj_1", "ada@example.org", ["otp"]) == Listed("hard_bounce", None)
    told.change(entry("unsubscribe", scope="news"), None)
    assert index.listed("prj_1", "ada@example.org", ["news"]) == Listed("hard_bounce", None)


def test_a_watcher_hears_of_additions_until_it_leaves() -> None:
    told, heard = Told(), []
    index = index_of(told)
    leave = index.watch(lambda *added: heard.append(added))
    told.change(None, entry("api"))
    told.change(entry("api"), None)
    leave()
    told.change(None, entry("bounce"))
    assert heard == [("prj_1", "ada@example.org", "sup_api")]


async def test_a_list_that_does_not_get_fresh_is_no_list() -> None:
    told = Told()
    index = index_of(told)
    assert await index.fresh()
    told.comes = False
    assert not await index.fresh()
