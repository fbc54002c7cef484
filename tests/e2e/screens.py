"""`make screens`: the pictures in docs/screens/, taken anew of the stack that is up, after some minutes of mail."""

import asyncio
import contextlib
import math
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.async_api import Browser, Page

from deploy.local.layout import run_dir
from tests.kit.browser import Scheme, chromium
from tests.kit.stack import ROOT, Stack
from tests.kit.waiting import found

FOLDER = ROOT / "docs" / "screens"
MINUTES = 4
LARGEST = 150_000  # bytes of one picture
WIDE, PHONE = (1280, 800), (360, 740)
SUBJECTS = {"otp": "Your verification code", "receipt": "Your receipt", "newsletter": "News of November"}
FATES = ("delivered", "delivered", "delivered", "defer", "delivered", "bounce", "complaint", "delivered", "unknown")
HTML = """<body style="font-family: system-ui; color: #222; margin: 40px auto; max-width: 420px">
<h1 style="font-size: 20px">Your verification code</h1><p>Enter this code to sign in. It expires in five minutes.</p>
<p style="font-size: 30px; letter-spacing: 6px; background: #f2f3f8; padding: 14px 20px"><b>847291</b></p>
<p style="color: #777">You did not ask for it? Then you need do nothing.</p></body>"""


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Stack]:
    stack = Stack(run_dir(), port_base=0)  # it has its ports already
    stack.join()
    try:
        yield stack
    finally:
        await stack.leave()


async def traffic(stack: Stack) -> None:
    """Mail as it comes and goes, of several kinds and fates."""
    for number in range(MINUTES * 60):
        tag = list(SUBJECTS)[number % len(SUBJECTS)]
        for part in range(round(3 + 2 * math.sin(number / 20))):
            name = f"{FATES[(number + part) % len(FATES)]}+{number}"
            await post(stack, f"{name}@sandbox.sendarix.test", tag)
        await asyncio.sleep(1)


def ago(*, hours: int) -> str:
    return (datetime.now(UTC) - timedelta(hours=hours)).isoformat()


async def post(stack: Stack, recipient: str, tag: str) -> str:
    body = {"recipient": recipient, "subject": SUBJECTS[tag], "text": "847291", "html": HTML, "tags": [tag]}

    async def accepted() -> str | None:
        status, answer, _ = await stack.call("POST", "/v1/messages", body, key=stack.key("test"))
        return answer["message_id"] if status == 202 else None

    return await found(accepted, within=30)


@contextlib.asynccontextmanager
async def furnished(stack: Stack) -> AsyncIterator[dict[str, str]]:
    """What the pages are to show beside traffic: their addresses by name. Gone after, but for the mails."""
    made: list[str] = []
    hook: dict[str, Any] = {
        "url": "http://127.0.0.1:9/hooks/mail",
        "events": ["message.*"],
        "description": "Orders team",
    }
    _, endpoint, _ = await stack.call("POST", "/v1/webhooks", {**hook, "tags": ["receipt"]})
    made.append(f"/v1/webhooks/{endpoint['id']}")
    await stack.call("POST", "/v1/queues/example.net/pause", {"reason": "their mail server is being moved"})
    for number in range(7):
        await stack.send(f"customer{number}@example.net", subject="Your receipt", tags=["receipt"])
    for name, measure, condition in (
        ("Bounces of codes", "bounce_rate", {"above": 0.05}),
        ("Security mail", "queued", {"times": 5, "baseline_seconds": 3600}),
    ):
        rule = {"name": name, "measure": measure, "filters": {"environment": "test"}, "condition": condition}
        _, alert, _ = await stack.call("POST", "/v1/alerts", {**rule, "window_seconds": 300, "minimum": 20})
        made.append(f"/v1/alerts/{alert['id']}")
    bounced = await post(stack, "bounce@sandbox.sendarix.test", "otp")
    deferred = await post(stack, "defer@sandbox.sendarix.test", "otp")
    mail = await post(stack, "delivered@sandbox.sendarix.test", "otp")
    await stack.message_when(bounced, "bounced")
    await stack.message_when(deferred, "deferred")
    await stack.message_when(mail, "delivered")
    await stack.call("POST", f"/v1/webhooks/{endpoint['id']}/replays", {"since": ago(hours=1), "only_failed": True})
    yield {
        "overview": "/",
        "messages": "/messages",
        "message": f"/messages/{deferred}",
        "webhook": f"/webhooks/{endpoint['id']}",
        "webhooks": "/webhooks",
        "queues": "/queues",
        "sandbox": "/sandbox",
        "sandbox-mail": f"/sandbox/{mail}",
        "dead-letters": "/dead-letters",
        "alerts": "/alerts",
    }
    for path in made:
        await stack.call("DELETE", path)
    await stack.call("POST", "/v1/queues/example.net/resume")


async def visitor(browser: Browser, stack: Stack, scheme: Scheme, size: tuple[int, int]) -> Page:
    context = await browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page = await context.new_page()
    await page.goto(f"{stack.description['url']}/dashboard/")
    await page.get_by_label("API key").fill(stack.key("live"))
    await page.get_by_role("button", name="Sign in").click()
    await page.locator("#main h1").wait_for()
    return page


async def take(page: Page, stack: Stack, path: str, name: str) -> None:
    await page.goto(f"{stack.description['url']}/dashboard{path}")
    await page.locator("[data-feed=live]").wait_for(state="attached")
    await page.get_by_text("Loading …").wait_for(state="detached")
    await page.wait_for_timeout(1_500)  # for pictures alone: that the last answers are drawn
    file = FOLDER / f"{name}.png"
    await page.screenshot(path=file)
    size = file.stat().st_size
    assert size <= LARGEST, f"{file}: {size} bytes are too many for a repository"


async def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    async with running() as stack, chromium() as browser:
        await traffic(stack)
        async with furnished(stack) as pages:
            await take_all(browser, stack, pages)


async def take_all(browser: Browser, stack: Stack, pages: dict[str, str]) -> None:
    light = await visitor(browser, stack, "light", WIDE)
    for name, path in pages.items():
        await take(light, stack, path, name)
    dark = await visitor(browser, stack, "dark", WIDE)
    for name in ("overview", "message"):
        await take(dark, stack, pages[name], f"{name}-dark")
    await take(await visitor(browser, stack, "light", PHONE), stack, pages["message"], "message-phone")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
