"""The inbox of test keys on a real ClickHouse (R13)."""

from typing import Any

from chassis.clock import SystemClock
from chassis.ids import MessageIds
from schemas.envelope import Envelope, seal, to_timestamp
from schemas.mail import Attachment, Content
from schemas.sandbox import SandboxMail
from services.sender.domain.mime import compose
from services.sender.domain.sandbox import answer_to, mail_of
from tests.integration.analytics.bench import Bench, ids
from tests.kit.history import OTHER_PROJECT, PROJECT
from tests.kit.senders import delivery

IDS = MessageIds({1: b"0123456789abcdef"}, 1)
PATH = "/v1/sandbox/messages"
FILE = Attachment(filename="Rechnung ä.pdf", content_type="application/pdf", content="JVBERi0xLjQK")
LOGO = Attachment(filename="logo.png", content_type="image/png", content="iVBORw0KGgo=", content_id="logo")


def taken(
    recipient: str = "ada@example.org",
    *,
    project: str = PROJECT,
    at_ms: int | None = None,
    attempt: int = 1,
    **content: Any,
) -> Envelope[SandboxMail]:
    """A mail as the sender writes it."""
    now = SystemClock().now_ms() if at_ms is None else at_ms
    given = {"from": "Shop <shop@example.com>", "to": [recipient], "subject": "Grüße", "text": "847291\n", **content}
    message_id = IDS.new(project_id=project, now_ms=now, lane="standard", partition=0).text
    item = delivery(recipient=recipient, environment="test", message_id=message_id, attempt=attempt)
    item = item.model_copy(update={"content": Content.model_validate(given)})
    return of(mail_of(item, compose(item), answer_to(recipient), now), project)


def of(mail: SandboxMail, project: str = PROJECT) -> Envelope[SandboxMail]:
    return seal(
        mail,
        record_id=f"rec_{mail.message_id}",
        source="sender",
        subject=mail.message_id,
        time_ms=0,
        project_id=project,
    )


async def test_one_mail_is_shown_as_a_mail_program_would(bench: Bench) -> None:
    mail = taken(html="<p>847291</p>", attachments=[FILE, LOGO], list_unsubscribe="https://mail.example/u/x")
    await bench.insert_all(mail)
    shown = await bench.api.get(f"{PATH}/{mail.subject}")
    assert shown["raw"] == mail.data.mime
    assert (shown["subject"], shown["from"], shown["recipient"]) == (
        "Grüße", "Shop <shop@example.com>", "ada@example.org",
    )  # fmt: skip
    assert (shown["text"].strip(), shown["html"].strip()) == ("847291", "<p>847291</p>")
    fields = {field["name"]: field["value"] for field in shown["headers"]}
    assert fields["Subject"] == "Grüße"
    assert fields["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    files = {file["filename"]: file for file in shown["attachments"]}
    assert (files["Rechnung ä.pdf"]["content_type"], files["Rechnung ä.pdf"]["size"]) == ("application/pdf", 9)
    assert (files["logo.png"]["content_id"], files["logo.png"]["size"]) == ("<logo>", 8)
    assert (shown["outcome"], shown["attempt"], shown["truncated"]) == ("delivered", 1, False)
    assert shown["received_at"] == mail.data.taken_at


async def test_the_list_is_newest_first_page_by_page_and_by_recipient(bench: Bench) -> None:
    now = SystemClock().now_ms()
    mails = [taken("bob@example.org" if n % 3 else "Ada@example.org", at_ms=now - 1000 * n) for n in range(7)]
    await bench.insert_all(*mails)
    pages = await bench.api.pages(PATH, limits=[2] * 10)
    assert ids(pages) == [mail.subject for mail in mails]
    assert "raw" not in pages[0]
    assert pages[0]["received_at"] == to_timestamp(now)
    adas = await bench.api.pages(PATH, limits=[1] * 10, recipient="ada@EXAMPLE.org")
    assert ids(adas) == [mails[n].subject for n in (0, 3, 6)]
    page = await bench.api.get(PATH, limit=1)
    status, _ = await bench.api.call(PATH, recipient="ada@example.org", after=page["next_cursor"])
    assert status == 422  # a cursor is of the list that it was made for


async def test_a_mail_is_of_its_project_alone(bench: Bench) -> None:
    mail = taken()
    await bench.insert_all(mail)
    assert (await bench.api.get(PATH, project=OTHER_PROJECT))["data"] == []
    status, body = await bench.api.call(f"{PATH}/{mail.subject}", project=OTHER_PROJECT)
    assert (status, body["error"]["code"]) == (404, "not_found")
    assert (await bench.api.call(f"{PATH}/{mail.subject}"))[0] == 200


async def test_what_is_inserted_again_or_taken_again_is_one_mail(bench: Bench) -> None:
    """R23: the second copy of an `unknown` one has the same Message-ID; the inbox shows the last attempt."""
    first = taken("unknown@sandbox.sendarix.test")
    second = of(first.data.model_copy(update={"attempt": 2}))
    await bench.insert_all(first, second, first)
    (shown,) = (await bench.api.get(PATH))["data"]
    assert (shown["attempt"], shown["outcome"]) == (2, "unknown")


async def test_a_mail_that_is_too_large_is_listed_without_its_bytes(bench: Bench) -> None:
    large = taken(text="x" * 900_001)
    assert large.data.truncated
    await bench.insert_all(large)
    shown = await bench.api.get(f"{PATH}/{large.subject}")
    assert (shown["truncated"], shown["raw"], shown["text"], shown["attachments"]) == (True, None, None, [])
    assert shown["size"] > 900_000
