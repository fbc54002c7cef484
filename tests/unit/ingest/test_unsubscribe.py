"""One-click links: which mail has one, what stands in it, and what a click does (R12; D99)."""

from base64 import urlsafe_b64decode
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from chassis.log import LogUnavailable
from chassis.table import ANSWER_AFTER
from schemas.envelope import Payload
from schemas.events import RecipientUnsubscribed, SuppressionAdded
from schemas.inputs import Feedback
from schemas.tables import Suppression, suppression_key
from services.ingest.domain.unsubscribe import UnsubscribeLinks, Unsubscription, scope_of
from services.ingest.management.unsubscribe import Unsubscribe
from tests.unit.ingest.stand_ins import HandClock

ASKED = Unsubscription("prj_1", "msg_06GC8M3C022000000000033W2746K085", "live", "news", "Ada@example.org")
LINKS = UnsubscribeLinks("https://mail.example", {1: b"0123456789abcdef"})
KEY = suppression_key("prj_1", "ada@example.org", "unsubscribe", "news")


def token_of(link: str) -> str:
    return link.removeprefix("https://mail.example/u/")


@pytest.mark.parametrize(
    ("tags", "setting", "scope"),
    [
        (["news"], [], None),
        (["news"], ["news"], "news"),
        (["otp", "news"], ["news", "offers"], "news"),
        (["offers", "news"], ["news", "offers"], "offers"),
        (["otp"], ["news"], None),
        ([], ["news"], None),
        (["otp"], ["*"], "otp"),
        (["otp", "news"], ["*", "news"], "news"),
        ([], ["*"], "*"),
    ],
)
def test_which_mail_has_a_link_and_for_what(tags: list[str], setting: list[str], scope: str | None) -> None:
    assert scope_of(tags, {}, setting) == scope


@pytest.mark.parametrize("name", ["List-Unsubscribe", "list-unsubscribe", "LIST-UNSUBSCRIBE-POST"])
def test_the_customers_own_header_wins(name: str) -> None:
    assert scope_of(["news"], {name: "<mailto:leave@shop.example>"}, ["*"]) is None


def test_a_link_says_all_that_a_click_needs_and_nothing_to_its_bearer() -> None:
    link = LINKS.link(ASKED)
    assert link.startswith("https://mail.example/u/")
    assert LINKS.read(token_of(link)) == ASKED
    raw = urlsafe_b64decode(token_of(link) + "==")
    assert not any(part in raw for part in (b"prj_1", b"ada", b"Ada", b"news", b"msg_"))
    assert len(f"List-Unsubscribe: <{link}>") < 998  # RFC 5322: the longest line


def test_who_writes_a_message_again_writes_the_same_link() -> None:
    assert LINKS.link(ASKED) == UnsubscribeLinks("https://mail.example", {1: b"0123456789abcdef"}).link(ASKED)
    assert LINKS.link(ASKED) != LINKS.link(replace(ASKED, scope="*"))


def test_a_link_lives_as_long_as_its_secret() -> None:
    rotated = UnsubscribeLinks("https://mail.example", {1: b"0123456789abcdef", 2: b"fedcba9876543210"})
    assert rotated.read(token_of(LINKS.link(ASKED))) == ASKED
    assert LINKS.read(token_of(rotated.link(ASKED))) is None


@pytest.mark.parametrize("token", ["", "x", "é", "AQ", "A" * 3000, "%00", "AAAA" * 20, "AQ" + "A" * 60])
def test_what_was_not_made_here_is_no_link(token: str) -> None:
    assert LINKS.read(token) is None


def test_no_bit_of_a_link_can_be_changed() -> None:
    token = token_of(LINKS.link(ASKED))
    for place in range(0, len(token), 3):
        other = "A" if token[place] != "A" else "B"
        assert LINKS.read(token[:place] + other + token[place + 1 :]) != ASKED
    assert LINKS.read(token[:-4]) is None


@dataclass(slots=True)
class World:
    """The list, the events and the router's inputs; the `fails`-th step does not reach the log."""

    clock: HandClock = field(default_factory=HandClock)
    rows: dict[str, Suppression] = field(default_factory=dict)
    put_at_ms: int = 0
    events: list[tuple[str, Payload, int]] = field(default_factory=list)
    reports: list[Feedback] = field(default_factory=list)
    fails: int = 0
    steps: int = 0

    def click(self) -> Unsubscribe:
        this: Any = self
        return Unsubscribe(self.clock, this, this, this)

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self.fails:
            raise LogUnavailable("away")

    def get(self, project_id: str, key: str) -> Suppression | None:
        return self.rows.get(key)

    async def put(self, key: str, entity: Suppression) -> None:
        self._step()
        self.rows[key] = entity
        self.put_at_ms = self.clock.ms

    async def publish(self, project_id: str, event_id: str, subject: str, change: Payload, time_ms: int) -> None:
        self._step()
        self.clock.ms += 50
        self.events.append((event_id, change, time_ms))

    async def report(self, project_id: str, feedback: Feedback) -> None:
        self._step()
        self.reports.append(feedback)


async def test_a_click_lists_the_address_for_its_tag_and_tells_everybody() -> None:
    world = World()
    await world.click()(ASKED)
    assert world.clock.ms - world.put_at_ms == round(ANSWER_AFTER * 1000)  # R11: answered when every reader knows
    row = world.rows[KEY]
    assert (row.recipient, row.scope, row.reason, row.origin) == (
        "ada@example.org",
        "news",
        "unsubscribed",
        "unsubscribe",
    )
    (first_id, first, _), (_, second, _) = world.events
    assert isinstance(first, RecipientUnsubscribed)
    assert (first.recipient, first.scope, first.message_id, first.by) == (
        row.recipient,
        "news",
        ASKED.message_id,
        "recipient",
    )
    assert isinstance(second, SuppressionAdded)
    assert (row.source_event_id, second.source_event_id, second.scope) == (first_id, first_id, "news")
    assert [(report.message_id, report.kind, report.by) for report in world.reports] == [
        (ASKED.message_id, "unsubscribe", "recipient")
    ]


async def test_a_second_click_says_the_same_again() -> None:
    world = World()
    await world.click()(ASKED)
    world.clock.ms += 60_000
    row = world.rows[KEY]
    await world.click()(ASKED)
    assert world.rows[KEY] == row
    assert world.events[2:] == world.events[:2]  # the same ids with the same content: duplicates, dropped by readers
    assert world.reports[1].feedback_id == world.reports[0].feedback_id


@pytest.mark.parametrize("fails", [1, 2, 3, 4])
async def test_a_click_that_failed_halfway_is_finished_by_the_next(fails: int) -> None:
    """D1: whichever append fails, the repeat leaves what one click would have left."""
    world = World(fails=fails)
    with pytest.raises(LogUnavailable):
        await world.click()(ASKED)
    await world.click()(ASKED)
    assert len(world.rows) == 1
    assert {type(change) for _, change, _ in world.events} == {RecipientUnsubscribed, SuppressionAdded}
    assert len({event_id for event_id, _, _ in world.events}) == 2
    assert len({report.feedback_id for report in world.reports}) == 1


async def test_a_click_in_mail_of_a_test_key_leaves_the_list_alone() -> None:
    world = World()
    await world.click()(replace(ASKED, environment="test"))
    assert (world.rows, world.events) == ({}, [])
    assert len(world.reports) == 1


async def test_who_was_listed_before_is_not_listed_again() -> None:
    world = World()
    await world.click()(ASKED)
    await world.click()(replace(ASKED, message_id="msg_06GC8M3C022000000000033W2746K086"))
    assert len(world.events) == 2
    assert len({report.feedback_id for report in world.reports}) == 2
