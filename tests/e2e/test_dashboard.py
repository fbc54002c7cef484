"""The dashboard in a browser, on the live stack: each page says what the API says, and its actions do what they say (R33)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Locator, Page, Route, expect

from tests.kit.browser import CHROMIUM, Scheme, chromium, inaccessible, too_wide
from tests.kit.stack import Json, Stack
from tests.kit.waiting import found
from tests.kit.webhook_receiver import WebhookReceiver

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Debian's package chromium is not installed")

PATIENCE_MS = 15_000
HOSTILE = (
    '<style>p {color: rgb(1, 2, 3)}</style><p style="font-size: 31px">Your code is <b>847291</b>.</p>'
    '<img src="https://tracker.example/pixel.png" alt=""><script>document.body.textContent = "owned"</script>'
    '<a href="https://tracker.example/">out</a><img src="x" onerror="parent.document.body.textContent = \'owned\'">'
)
expect.set_options(timeout=PATIENCE_MS)


@dataclass(slots=True)
class Visit:
    """Somebody at the dashboard, and what went wrong unseen: errors of scripts, requests to others."""

    stack: Stack
    page: Page
    complaints: list[str] = field(default_factory=list)

    async def sign_in(self, key: str) -> None:
        await self.enter(key)
        await expect(self.page.locator("#main h1")).to_have_text("Overview")

    async def enter(self, key: str) -> None:
        """At the door, whoever was signed in before."""
        await self.page.goto(f"{self.stack.description['url']}/dashboard/")
        await self.page.evaluate("sessionStorage.clear()")
        await self.page.reload()
        await self.page.get_by_label("API key").fill(key)
        await self.page.get_by_role("button", name="Sign in").click()

    async def open(self, path: str, heading: str = "") -> None:
        await self.page.goto(f"{self.stack.description['url']}/dashboard{path}")
        await expect(self.page.locator("#main h1")).to_contain_text(heading)

    async def get(self, path: str) -> Json:
        """What the API says; a machine that has too much to do may be asked again, as its 503 says."""

        async def answered() -> Json | None:
            status, answer, _ = await self.stack.call("GET", path)
            assert status in {200, 503}, answer
            return answer if status == 200 else None

        return await found(answered, within=PATIENCE_MS / 1000)

    def row(self, text: str) -> Locator:
        return self.page.get_by_role("row").filter(has_text=text)

    async def confirm(self, button: str, action: str) -> None:
        """Press a button, and the one of the dialog that asks back."""
        await self.page.get_by_role("button", name=button, exact=True).click()
        dialog = self.page.get_by_role("dialog")
        await dialog.get_by_role("button", name=action, exact=True).click()
        await expect(dialog).to_be_hidden()


@dataclass(frozen=True, slots=True)
class Seed:
    delivered: str
    bounced: str
    scheduled: str
    sandboxed: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def context(stack: Stack) -> AsyncIterator[BrowserContext]:
    async with chromium() as browser:
        yield await browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def visit(stack: Stack, context: BrowserContext, seed: Seed) -> AsyncIterator[Visit]:
    visit = Visit(stack, await context.new_page())
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))

    async def refuse(route: Route) -> None:
        visit.complaints.append(route.request.url)
        await route.abort()

    await visit.page.route(lambda url: not url.startswith(stack.description["url"]), refuse)
    await visit.sign_in(stack.key("live"))
    yield visit
    assert visit.complaints == []


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def seed(stack: Stack) -> Seed:
    """One mail of each kind, and enough others for a second page."""
    test = {"subject": "Your verification code", "text": "847291", "html": HOSTILE, "tags": ["otp"]}
    many = [
        {"recipient": f"reader{number}@example.org", "subject": "Our news", "text": "Hello.", "tags": ["news"]}
        for number in range(30)
    ]
    status, batch, _ = await stack.call("POST", "/v1/messages/batch", {"messages": many})
    assert status == 202, batch
    next_month = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    scheduled = await stack.send("later@example.net", subject="Later", scheduled_time=next_month)
    ids = {}
    for name in ("bounce", "delivered"):
        body = {"recipient": f"{name}@sandbox.sendarix.test", "metadata": {"order": "42"}, **test}
        _, answer, _ = await stack.call("POST", "/v1/messages", body, key=stack.key("test"))
        ids[name] = answer["message_id"]
    delivered = batch["data"][-1]["message_id"]
    await stack.message_when(delivered, "delivered")
    await stack.message_when(ids["bounce"], "bounced")
    await stack.message_when(ids["delivered"], "delivered")
    return Seed(delivered, ids["bounce"], scheduled["message_id"], ids["delivered"])


async def test_only_a_key_that_is_known_is_let_in_and_signing_out_forgets_it(
    stack: Stack, context: BrowserContext
) -> None:
    visit = Visit(stack, await context.new_page())
    await visit.enter("sk_live_" + "0" * 40)
    await expect(visit.page.get_by_role("alert")).to_contain_text("Check the key")
    await visit.sign_in(stack.key("test"))
    await expect(visit.page.locator(".environment")).to_have_text("test")
    assert stack.key("test") in await visit.page.evaluate("Object.values(sessionStorage).join()")
    assert await visit.page.evaluate("Object.values(localStorage).join()") == ""
    await visit.page.get_by_role("button", name="Sign out").click()
    await expect(visit.page.get_by_label("API key")).to_be_visible()
    assert await visit.page.evaluate("sessionStorage.length") == 0
    await visit.page.close()


async def test_messages_are_those_of_the_api_filtered_by_the_address_and_paged_by_cursor(visit: Visit) -> None:
    async def shows(listed: Json) -> None:
        rows = visit.page.locator("tbody tr")
        await expect(rows).to_have_count(len(listed["data"]))
        await expect(rows.locator("[data-status]")).to_have_text([message["status"] for message in listed["data"]])
        for row, message in zip(await rows.all(), listed["data"], strict=True):
            address = f"/dashboard/messages/{message['message_id']}"
            await expect(row.locator("td:nth-child(2) > a")).to_have_attribute("href", address)

    await visit.open("/messages?tag=news")
    first = await visit.get("/v1/messages?tag=news")
    await shows(first)
    await visit.page.get_by_role("link", name="Next page").click()
    await visit.page.wait_for_url("**after=*")
    await expect(visit.page.get_by_role("link", name="Newest")).to_be_visible()
    await shows(await visit.get(f"/v1/messages?tag=news&after={first['next_cursor']}"))

    await visit.page.get_by_label("Status").select_option("bounced")
    await visit.page.get_by_role("textbox", name="Tag").fill("otp")
    await visit.page.get_by_role("button", name="More filters").click()
    await visit.page.get_by_label("Metadata key").fill("order")
    await visit.page.get_by_label("Metadata value").fill("42")
    await visit.page.get_by_role("button", name="Search").click()
    await visit.page.wait_for_url("**/messages?status=bounced&tag=otp&metadata%5Border%5D=42")
    await shows(await visit.get("/v1/messages?status=bounced&tag=otp&metadata[order]=42"))
    await visit.page.get_by_role("button", name="Remove the filter status bounced").click()
    await shows(await visit.get("/v1/messages?tag=otp&metadata[order]=42"))

    await visit.open("/messages?error_category=nonsense")
    await expect(visit.page.get_by_role("alert")).to_contain_text("error_category")


async def test_a_message_shows_its_events_and_how_far_its_attempt_came(visit: Visit, seed: Seed) -> None:
    message = await visit.get(f"/v1/messages/{seed.bounced}")
    await visit.open(f"/messages/{seed.bounced}", message["subject"])
    ids = visit.page.locator(".timeline summary code")
    await expect(ids).to_have_text([event["id"] for event in message["timeline"]])
    await expect(visit.page.locator(".picture b")).to_have_text(["queued", "accepted", "bounced"])
    ended = visit.page.locator(".smtp li[data-state=ended]")
    await expect(ended).to_have_text(f"RCPT TO{message['outcome']['reply']}")
    await expect(visit.page.locator(".smtp li[data-state=passed]")).to_have_count(4)
    explained = await visit.get(f"/v1/messages/{seed.bounced}/explain")
    await expect(visit.page.locator(".decisions p")).to_have_text([each["text"] for each in explained["decisions"]])


async def test_a_message_is_cancelled_and_a_recipient_suppressed_only_after_a_question(
    visit: Visit, seed: Seed
) -> None:
    await visit.open(f"/messages/{seed.scheduled}")
    await visit.page.get_by_role("button", name="Cancel message").click()
    await visit.page.keyboard.press("Escape")
    await expect(visit.page.get_by_role("dialog")).to_be_hidden()
    assert (await visit.get(f"/v1/messages/{seed.scheduled}"))["status"] == "scheduled"
    await visit.confirm("Cancel message", "Cancel message")
    await expect(visit.page.locator("h1 + p [data-status]")).to_have_text("cancelled")
    assert (await visit.get(f"/v1/messages/{seed.scheduled}"))["status"] == "cancelled"

    await visit.confirm("Suppress recipient", "Suppress recipient")
    assert (await visit.get("/v1/suppressions/later@example.net"))["reason"] == "manual"


async def test_a_webhook_is_added_tested_rotated_and_replayed(visit: Visit) -> None:
    async with WebhookReceiver() as receiver:
        await visit.open("/webhooks")
        await visit.page.get_by_role("button", name="Add endpoint").click()
        await visit.page.get_by_label("URL").fill(receiver.url("/dashboard"))
        await visit.page.get_by_label("Events").fill("message.delivered")
        await visit.page.get_by_role("dialog").get_by_role("button", name="Add endpoint").click()
        secret = await visit.page.locator("dialog pre").inner_text()
        await visit.page.get_by_role("button", name="I have stored it").click()
        await visit.page.get_by_role("link", name=receiver.url("/dashboard")).click()
        endpoint_id = visit.page.url.rpartition("/")[2]

        await visit.page.get_by_role("button", name="Send test event").click()
        (tested,) = await receiver.requests("/dashboard", 1)
        assert tested.verified(secret)["type"] == "webhook.test"
        await expect(visit.row("webhook.test")).to_contain_text("succeeded")
        attempts = await visit.get(f"/v1/webhooks/{endpoint_id}/attempts")
        await expect(visit.row("webhook.test")).to_contain_text(attempts["data"][0]["event_id"])

        await visit.page.get_by_role("button", name="Rotate secret").click()
        await visit.page.get_by_label("Old secret stays good for").select_option("0")
        await visit.page.get_by_role("dialog").get_by_role("button", name="Rotate secret").click()
        newer = visit.page.locator("dialog pre")
        await expect(newer).not_to_have_text(secret)
        renewed = await newer.inner_text()
        await visit.page.get_by_role("button", name="I have stored it").click()

        message = await visit.stack.send("replayed@example.org")
        (_, live) = await receiver.requests("/dashboard", 2)
        event = live.verified(renewed)
        assert event["data"]["message_id"] == message["message_id"]
        await visit.page.get_by_role("button", name="Replay").click()
        await visit.page.get_by_label("Or this one event").fill(event["id"])
        await visit.page.get_by_role("button", name="Start replay").click()
        again = (await receiver.requests("/dashboard", 3))[2]
        assert again.verified(renewed)["id"] == event["id"]
        await visit.page.get_by_role("button", name="Replay").click()
        await visit.page.get_by_label("Only what failed").uncheck()
        await visit.page.get_by_role("button", name="Start replay").click()
        replays = visit.page.get_by_role("table", name="Replays")
        await expect(replays.locator("[data-status]")).to_have_text(["done", "done"])
        window, one = (await visit.get(f"/v1/webhooks/{endpoint_id}/replays"))["data"]
        found_and_called = [f"{window[figure]:,}" for figure in ("matched", "queued")]
        await expect(replays.locator("tbody tr").first.locator("td.number")).to_have_text(found_and_called)
        await expect(replays.locator("tbody tr").last).to_contain_text(event["id"])
        assert (one["event_id"], one["matched"], one["queued"]) == (event["id"], 1, 1)
        of_window = (await receiver.requests("/dashboard", 3 + window["queued"]))[3:]
        assert event["id"] in {call.webhook_id for call in of_window}
        await visit.confirm("Delete", "Delete endpoint")
        await visit.page.wait_for_url("**/webhooks")
        assert (await visit.stack.call("GET", f"/v1/webhooks/{endpoint_id}"))[0] == 404


async def test_a_queue_is_paused_and_resumed_and_says_what_waits(visit: Visit) -> None:
    await visit.stack.call("POST", "/v1/queues/slow.example/pause", {"reason": "seed"})
    message_id = (await visit.stack.send("ada@slow.example"))["message_id"]
    await visit.open("/queues")
    row = visit.row("slow.example")
    await expect(row.locator("td").nth(2)).to_have_text("1")
    await expect(row).to_contain_text("paused")
    await expect(row).to_contain_text("seed")
    await visit.confirm("Resume slow.example", "Resume")
    assert not (await visit.get("/v1/queues/slow.example"))["paused"]
    await visit.stack.message_when(message_id, "delivered")

    await visit.stack.call("POST", "/v1/queues/other.example/pause", {})
    await visit.page.reload()
    await visit.confirm("Resume other.example", "Resume")
    await expect(visit.row("other.example")).to_have_count(0)


async def test_a_queue_is_paused_with_a_reason_and_what_waits_in_it_is_sent_at_once(visit: Visit) -> None:
    name = "sandbox.sendarix.test"
    rarely = {"name": "rarely", "recipient_domains": [name], "retry_schedule": ["1h"]}
    _, policy, _ = await visit.stack.call("POST", "/v1/policies", rarely)
    mail = {"recipient": f"defer@{name}", "subject": "Your code", "text": "847291"}
    _, sent, _ = await visit.stack.call("POST", "/v1/messages", mail, key=visit.stack.key("test"))
    await visit.stack.message_when(sent["message_id"], "deferred")
    await visit.open("/queues")
    row = visit.row(name)
    await expect(row.locator("td").nth(2)).to_have_text("1")
    await visit.page.get_by_role("button", name=f"Pause {name}").click()
    await visit.page.get_by_label("Reason").fill("it is being moved")
    await visit.page.get_by_role("dialog").get_by_role("button", name="Pause", exact=True).click()
    await expect(row).to_contain_text("paused")
    await expect(row).to_contain_text("it is being moved")
    assert (await visit.get(f"/v1/queues/{name}"))["pauses"][0]["reason"] == "it is being moved"
    await visit.confirm(f"Resume {name}", "Resume")
    await expect(row).to_contain_text("flowing")
    await visit.confirm(f"Flush {name}", "Flush")
    await visit.stack.message_when(sent["message_id"], "bounced")  # by its second and last attempt, an hour early
    await expect(row).to_have_count(0)
    await visit.stack.call("DELETE", f"/v1/policies/{policy['id']}")


async def test_the_sandbox_shows_a_mail_as_it_was_and_lets_nothing_of_it_out(visit: Visit, seed: Seed) -> None:
    mail = await visit.get(f"/v1/sandbox/messages/{seed.sandboxed}")
    await visit.open("/sandbox")
    await visit.row(mail["recipient"]).first.get_by_role("link").click()
    await visit.open(f"/sandbox/{seed.sandboxed}", mail["subject"])
    frame = visit.page.frame_locator("iframe")
    shown = frame.locator("p")
    await expect(shown).to_have_text("Your code is 847291.")
    await expect(shown).to_have_css("color", "rgb(1, 2, 3)")
    await expect(shown).to_have_css("font-size", "31px")
    await frame.get_by_role("link", name="out").click()
    for view, text in (("Text", mail["text"]), ("Headers", mail["headers"][0]["value"]), ("Raw", mail["raw"])):
        await visit.page.get_by_role("button", name=view, exact=True).click()
        await expect(visit.page.locator(".content")).to_contain_text(" ".join(text.split()))
    assert visit.complaints == []


async def test_dead_letters_are_grouped_and_sent_again_or_it_says_why_not(visit: Visit, seed: Seed) -> None:
    async def grouped() -> list[Json] | None:
        groups: list[Json] = (await visit.get("/v1/dead-letters/groups"))["data"]
        return groups or None

    groups = await found(grouped, within=20)
    await visit.open("/dead-letters")
    await expect(visit.page.locator("table").first.locator("tbody tr")).to_have_count(len(groups))
    letter = await visit.get(f"/v1/dead-letters/{seed.bounced}")
    row = visit.page.get_by_role("row").filter(has=visit.page.locator(f'a[href$="{seed.bounced}"]'))
    await expect(row).to_contain_text(letter["reply"])
    await row.get_by_role("button").click()
    dialog = visit.page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Re-drive").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("1 of 1 not sent again")  # test mail, with a live key

    await visit.sign_in(visit.stack.key("test"))
    await visit.open("/dead-letters")
    await row.get_by_role("button").click()
    await dialog.get_by_role("button", name="Re-drive").click()
    await expect(dialog).to_be_hidden()
    await expect(row).to_contain_text("sent again as")
    (again,) = (await visit.get(f"/v1/dead-letters/{seed.bounced}"))["redriven_as"]
    await expect(row.locator(f'a[href$="{again}"]')).to_be_visible()
    await visit.sign_in(visit.stack.key("live"))


async def test_an_alert_is_added_disabled_and_deleted(visit: Visit) -> None:
    await visit.open("/alerts")
    await visit.page.get_by_role("button", name="Add rule").click()
    await visit.page.get_by_label("Name").fill("Bounces of codes")
    await visit.page.get_by_label("Only with the tag").fill("otp")
    await visit.page.get_by_role("dialog").get_by_role("button", name="Add rule").click()
    await expect(visit.row("Bounces of codes")).to_contain_text("bounce rate above 5.0 %")
    (rule,) = [each for each in (await visit.get("/v1/alerts"))["data"] if each["name"] == "Bounces of codes"]
    assert (rule["measure"], rule["filters"]["tag"], rule["condition"]["above"]) == ("bounce_rate", "otp", 0.05)
    await visit.page.get_by_role("button", name="Disable Bounces of codes").click()
    await expect(visit.row("Bounces of codes")).to_contain_text("disabled")
    await visit.confirm("Delete Bounces of codes", "Delete rule")
    await expect(visit.row("Bounces of codes")).to_have_count(0)
    assert rule["id"] not in str(await visit.get("/v1/alerts"))


async def test_the_overview_counts_as_the_api_does_and_follows_by_itself(visit: Visit) -> None:
    await visit.open("/")
    queued = visit.page.locator("[data-total=Queued]")
    await expect(visit.page.locator("[data-feed=live]")).to_be_visible()

    async def counted() -> int:
        total = await visit.get("/v1/metrics?interval=total&since=2026-01-01T00:00:00Z")
        return int(total["data"][0]["queued"])

    before = await counted()
    await expect(queued).to_have_text(f"{before:,}")
    await visit.stack.send("ada@example.org")
    await expect(queued).to_have_text(f"{before + 1:,}")
    assert await counted() == before + 1
    await expect(visit.page.locator("canvas")).to_have_count(3)


async def test_an_endpoint_that_this_server_lacks_is_said_so_and_breaks_nothing(visit: Visit) -> None:
    status, answer, _ = await visit.stack.call("GET", "/v1/no-such-thing")
    assert status == 404
    await visit.page.route("**/v1/metrics*", lambda route: route.fulfill(status=404, json=answer))
    await visit.open("/")
    await expect(visit.page.get_by_text("This server has no metrics yet")).to_be_visible()
    await visit.page.unroute("**/v1/metrics*")


async def test_every_page_fits_a_phone_and_is_accessible_in_light_and_dark(visit: Visit, seed: Seed) -> None:
    unreachable = {"url": "http://127.0.0.1:9/hooks", "events": ["message.bounced"]}
    _, endpoint, _ = await visit.stack.call("POST", "/v1/webhooks", unreachable)
    webhook = f"/webhooks/{endpoint['id']}"
    await visit.stack.call("POST", f"/v1{webhook}/test")
    await visit.stack.call("POST", f"/v1{webhook}/replays", {"since": endpoint["created_at"], "only_failed": True})
    pages = [
        "/", "/messages", f"/messages/{seed.bounced}", "/webhooks", webhook, "/queues",
        "/sandbox", f"/sandbox/{seed.sandboxed}", "/dead-letters", "/alerts",
    ]  # fmt: skip
    faults: dict[str, object] = {}
    for number, path in enumerate(pages):
        scheme: Scheme = "dark" if number % 2 else "light"
        await visit.page.emulate_media(color_scheme=scheme)
        await visit.page.set_viewport_size({"width": 1280, "height": 800})
        await visit.open(path)
        await expect(visit.page.get_by_text("Loading …")).to_have_count(0)
        assert await visit.page.evaluate("document.documentElement.dataset.theme") == scheme
        if found_here := await inaccessible(visit.page):
            faults[f"{path} {scheme}"] = found_here
        await visit.page.set_viewport_size({"width": 360, "height": 740})
        if pixels := await too_wide(visit.page):
            faults[f"{path} at 360 px"] = pixels
    assert faults == {}
    await visit.stack.call("DELETE", f"/v1{webhook}")
