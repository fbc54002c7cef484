"""Cancel, move and release as the one who asks sees them (R6, R7): the router's verdict, and nothing else, decides."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from chassis.ids import MessageIds
from chassis.log import LogUnavailable
from schemas.envelope import to_timestamp
from schemas.inputs import Cancel, Command, Reschedule
from schemas.replies import Verdict
from services.ingest.domain.access import Caller
from services.ingest.domain.commands import Asking, check_done, command_id, read_scheduled
from services.ingest.domain.faults import Refused
from services.ingest.management.commands import VERDICT_SECONDS, ManageMessages
from services.ingest.ports import AnalyticsAway, Reply
from tests.unit.ingest.stand_ins import HandClock

IDS = MessageIds({1: b"0123456789abcdef"}, 1)
NOW = 1_790_000_000_000
CALLER = Caller("prj_1", "key_1", "live", ("*",), 1000)
ASKING = Asking(None, "req_1")


def message_of(project_id: str = "prj_1") -> str:
    return IDS.new(project_id=project_id, now_ms=NOW, lane="standard", partition=3, scheduled=True).text


def verdict_of(**changes: Any) -> Verdict:
    done = Verdict(
        request_id="cmd_1", message_id="msg_1", verdict="done", status="cancelled", sequence=3, reason=None
    )  # fmt: skip
    return done.model_copy(update=changes)


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "reason", "status", "code", "said"),
    [
        ("unknown_message", None, None, (404, "not_found"), "There is no such message."),
        ("refused", "being_sent", "accepted", (404, "not_found"), "being sent"),
        ("refused", "already_sent", "delivered", (404, "not_found"), "already sent"),
        ("refused", "not_scheduled", "accepted", (409, "conflict"), "not scheduled"),
        ("refused", "not_held", "deferred", (409, "conflict"), "not held"),
        ("refused", "bounced", "bounced", (404, "not_found"), "came back"),
        ("refused", "suppressed", "suppressed", (409, "conflict"), "suppression list"),
        ("refused", "expired", "expired", (409, "conflict"), "deliver_before"),
        ("refused", "after_deliver_before", "scheduled", (409, "conflict"), "deliver_before"),
        ("refused", "content_not_kept", "scheduled", (409, "conflict"), "earlier"),
        ("refused", "no_content", "held", (409, "conflict"), "content"),
        ("refused", "of_another_kind", "held", (409, "conflict"), "of_another_kind"),
        ("refused", None, None, (409, "conflict"), "unknown"),
    ],
)
def test_what_a_verdict_means(
    verdict: str, reason: str | None, status: str | None, code: tuple[int, str], said: str
) -> None:
    with pytest.raises(Refused) as refused:
        check_done(verdict_of(verdict=verdict, reason=reason, status=status))
    assert (refused.value.status, refused.value.code) == code
    assert said in refused.value.message
    assert status is None or f"`{status}`" in refused.value.message


def test_done_is_no_refusal() -> None:
    check_done(verdict_of())


# --- what is asked ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, [("scheduled_time", "required")]),
        ({"scheduled_time": None}, [("scheduled_time", "required")]),
        ({"scheduled_time": "soon"}, [("scheduled_time", "invalid_time")]),
        ({"scheduled_time": 5}, [("scheduled_time", "invalid_type")]),
        ({"scheduled_time": "2020-01-01T00:00:00Z"}, [("scheduled_time", "in_the_past")]),
        ({"scheduled_time": "2099-01-01T00:00:00Z"}, [("scheduled_time", "too_far_ahead")]),
        ({"scheduled_time": "2027-01-01T00:00:00Z", "when": 1}, [("when", "unknown_field")]),
    ],
)
def test_a_new_time_is_judged_as_the_first_was(body: dict[str, Any], faults: list[tuple[str, str]]) -> None:
    with pytest.raises(Refused) as refused:
        read_scheduled(body, NOW)
    assert refused.value.status == 422
    assert [(fault.field, fault.code) for fault in refused.value.faults] == faults


def test_a_repeat_has_the_id_of_the_first_request_and_nothing_else_has() -> None:
    def named(
        project: str = "prj_1", message: str = "msg_1", what: str = "cancel", key: str | None = "k", request: str = "r"
    ) -> str:
        return command_id(project, message, what, Asking(key, request))

    assert named() == named(request="another attempt")
    assert named(key=None) == named(key=None)
    different = [
        named(), named(project="prj_2"), named(message="msg_2"), named(what="release"), named(what="reschedule:1"),
        named(what="reschedule:2"), named(key="l"), named(key=None), named(key=None, request="s"), named(key="r"),
    ]  # fmt: skip
    assert len(set(different)) == len(different)


# --- the use case -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Router:
    """The port `Commands`: answers what it is told to."""

    answer: Callable[[Command], Verdict | None] = lambda command: verdict_of(request_id=command.request_id)
    is_ready: bool = True
    asked: list[tuple[str, Command, float]] = field(default_factory=list)
    reply_to: str = "ingest-1.start-1"

    def ready(self) -> bool:
        return self.is_ready

    async def ask(self, project_id: str, command: Command, *, within: float) -> Verdict | None:
        self.asked.append((project_id, command, within))
        return self.answer(command)


@dataclass(slots=True)
class ReadSide:
    """The port `Analytics`."""

    message: dict[str, Any] | None = None  # None: it is away
    status: int = 200
    hangs: bool = False
    asked: list[str] = field(default_factory=list)

    async def get(self, path: str, query: str, caller: Caller, request_id: str) -> Reply:
        del query, caller, request_id
        self.asked.append(path)
        if self.hangs:
            await asyncio.Event().wait()
        if self.message is None:
            raise AnalyticsAway("away")
        return Reply(self.status, orjson.dumps(self.message), "application/json")


def managing(router: Router, reads: ReadSide | None = None) -> ManageMessages:
    return ManageMessages(HandClock(NOW), IDS, router, reads or ReadSide())


async def refusal(asking: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        await asking
    return refused.value


async def test_a_cancel_names_who_asked_and_where_to_answer() -> None:
    router, message_id = Router(), message_of()
    await managing(router).cancel(CALLER, message_id, ASKING)
    ((project_id, command, within),) = router.asked
    assert (project_id, within) == ("prj_1", VERDICT_SECONDS)
    assert command == Cancel(
        message_id=message_id,
        request_id=command_id("prj_1", message_id, "cancel", ASKING),
        reply_to="ingest-1.start-1",
        by="key_1",
    )


async def test_a_move_carries_the_time() -> None:
    router, then = Router(), to_timestamp(NOW + 5000)
    router.answer = lambda _: verdict_of(status="scheduled", scheduled_ms=NOW + 5000)
    shown = await managing(router).reschedule(CALLER, message_of(), orjson.dumps({"scheduled_time": then}), ASKING)
    ((_, command, _),) = router.asked
    assert isinstance(command, Reschedule)
    assert command.scheduled_ms == NOW + 5000
    assert orjson.loads(shown) == {"message_id": "msg_1", "status": "scheduled", "scheduled_time": then}


@pytest.mark.parametrize("what", ["cancel", "release", "reschedule"])
async def test_nothing_is_asked_about_a_message_of_another_project(what: str) -> None:
    """D78: one answer, without a look-up."""
    router, reads = Router(), ReadSide()
    messages = managing(router, reads)
    real = message_of()
    forged = real[:-1] + ("0" if real[-1] != "0" else "1")
    for message_id in (message_of("prj_2"), "msg_x", "", forged):
        match what:
            case "cancel":
                refused = await refusal(messages.cancel(CALLER, message_id, ASKING))
            case "release":
                refused = await refusal(messages.release(CALLER, message_id, ASKING))
            case _:
                refused = await refusal(messages.reschedule(CALLER, message_id, b"{", ASKING))
        assert (refused.code, refused.message) == ("not_found", "There is no such message.")
    assert (router.asked, reads.asked) == ([], [])


@pytest.mark.parametrize("outage", ["no verdict", "no ack", "not ready"])
async def test_without_a_verdict_nothing_is_claimed(outage: str) -> None:
    def unconfirmed(_: Command) -> Verdict | None:
        raise LogUnavailable("no ack")

    router = Router(is_ready=outage != "not ready")
    router.answer = unconfirmed if outage == "no ack" else lambda _: None
    refused = await refusal(managing(router).cancel(CALLER, message_of(), ASKING))
    assert (refused.status, refused.code) == (503, "unavailable")
    assert refused.retry_after
    assert "harmless" in refused.hint


WHOLE = {"message_id": "msg_1", "status": "cancelled", "timeline": [{"sequence": 2}, {"sequence": 3}]}
BRIEF = {"message_id": "msg_1", "status": "cancelled", "scheduled_time": None}


@pytest.mark.parametrize(
    ("reads", "shown"),
    [
        (ReadSide(WHOLE), WHOLE),
        (ReadSide({**WHOLE, "timeline": [{"sequence": 2}]}), BRIEF),  # it has not seen the cancellation yet
        (ReadSide({"message_id": "msg_1", "status": "queued", "pending": True}), BRIEF),
        (ReadSide({"error": {"code": "not_found"}}, status=404), BRIEF),
        (ReadSide(None), BRIEF),
        (ReadSide(WHOLE, hangs=True), BRIEF),
    ],
)
async def test_the_message_is_shown_whole_where_the_read_side_is_up_to_it(
    reads: ReadSide, shown: dict[str, Any]
) -> None:
    """The answer never waits for analytics, nor takes its older word."""
    assert orjson.loads(await managing(Router(), reads).cancel(CALLER, message_of(), ASKING)) == shown


async def test_a_key_that_may_only_send_is_shown_no_more_than_it_did() -> None:
    """R13."""
    caller, reads = Caller("prj_1", "key_1", "live", ("messages.send",), 1000), ReadSide(WHOLE)
    assert orjson.loads(await managing(Router(), reads).cancel(caller, message_of(), ASKING)) == BRIEF
    assert reads.asked == []
