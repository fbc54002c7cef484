"""`make demo`: one mail through the running stack, and everything that can be seen of it. Ends by itself.

It talks to the stack as a stranger would: over HTTP, Kafka's public topic, a webhook endpoint and the mailbox. It must
never reach into a service.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiokafka import AIOKafkaConsumer
from standardwebhooks import Webhook, WebhookVerificationError

from deploy.local.layout import run_dir
from schemas.topics import TOPICS

PATIENCE = 20.0  # seconds for any one thing to happen; each takes well under one on an idle machine
EXPECTED = ("message.queued", "message.accepted", "message.delivered")
RECIPIENT = "ada@example.org"

Json = dict[str, Any]


@dataclass(slots=True)
class Hooks:
    """A webhook endpoint in this process: what arrived, verified with the Standard Webhooks library."""

    secret: str = ""
    verified: asyncio.Queue[Json] | None = None

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        assert self.verified is not None
        try:
            Webhook(self.secret).verify(body, dict(request.headers))
        except WebhookVerificationError:
            return web.Response(status=401)
        self.verified.put_nowait(json.loads(body))
        return web.Response(status=204)


@contextlib.asynccontextmanager
async def listening(hooks: Hooks) -> AsyncIterator[str]:
    """Serve `hooks` on a free loopback port; yields its URL."""
    app = web.Application()
    app.router.add_post("/hooks", hooks.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def subscription(bootstrap: str) -> AsyncIterator[AIOKafkaConsumer]:
    """The public event topic, from now on: what an internal team would subscribe to."""
    consumer = AIOKafkaConsumer(
        TOPICS["message-events"].name, bootstrap_servers=bootstrap, auto_offset_reset="latest", fetch_max_wait_ms=50
    )
    await consumer.start()
    try:
        for partition in consumer.assignment():
            await consumer.position(partition)  # pins "from now on" before the mail is sent
        yield consumer
    finally:
        await consumer.stop()


def step(number: int, text: str) -> None:
    print(f"\n\033[1m{number}. {text}\033[0m", flush=True)


async def send(http: aiohttp.ClientSession, url: str) -> Json:
    body = {
        "recipient": RECIPIENT,
        "subject": "Your verification code",
        "text": "Your code is 847291. It expires in 5 minutes.",
        "html": "<p>Your code is <b>847291</b>. It expires in 5 minutes.</p>",
        "tags": ["otp"],
    }
    headers = {"Idempotency-Key": f"demo-{time.monotonic_ns()}"}
    async with http.post(f"{url}/v1/messages", json=body, headers=headers) as response:
        answer: Json = await response.json()
        print(f"   POST {url}/v1/messages → {response.status}\n   {json.dumps(answer)}")
        if response.status != 202:
            raise SystemExit("The mail was not accepted; `make logs` shows why.")
        return answer


async def follow(consumer: AIOKafkaConsumer, message_id: str) -> None:
    began = time.monotonic()
    seen: set[str] = set()
    while not seen.issuperset(EXPECTED):
        record = await consumer.getone()
        event = json.loads(record.value)
        if event["subject"] != message_id or event["id"] in seen:
            continue
        seen |= {event["type"], event["id"]}
        reply = (event["data"].get("attempt") or {}).get("reply") or ""
        print(f"   {time.monotonic() - began:5.2f} s  {event['sequence']}  {event['type']:<18} {event['id']}  {reply}")


async def webhooks_of(hooks: Hooks, message_id: str) -> None:
    missing = set(EXPECTED)
    assert hooks.verified is not None
    while missing:
        event = await hooks.verified.get()
        if event["data"]["message_id"] == message_id and event["type"] in missing:
            missing.discard(event["type"])
            print(f"   signature verified  {event['type']:<18} {event['id']}")


async def timeline(http: aiohttp.ClientSession, url: str, message_id: str) -> None:
    while True:
        async with http.get(f"{url}/v1/messages/{message_id}") as response:
            message: Json = await response.json()
        if message.get("status") == "delivered":
            break
        await asyncio.sleep(0.1)
    print(f"   GET {url}/v1/messages/{message_id} → status {message['status']}, {message['attempts']} attempt")
    for event in message["timeline"]:
        print(f"   {event['time']}  {event['type']}")


async def mail(folder: Path, message_id: str) -> None:
    """The mail as the mailbox keeps it, byte for byte."""
    while True:
        for path in (folder / "new").glob("*"):
            text = path.read_bytes().decode(errors="replace")
            if message_id in text:
                print(f"   {path}\n")
                print("\n".join(f"   │ {line}" for line in text.splitlines()))
                return
        await asyncio.sleep(0.1)


async def demo(stack: Json, folder: Path) -> None:
    url, key = stack["url"], stack["keys"]["live"]
    hooks = Hooks(verified=asyncio.Queue())
    http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"})
    async with http, listening(hooks) as hook_url, subscription(stack["kafka"]) as consumer:
        async with http.post(f"{url}/v1/webhooks", json={"url": hook_url, "events": ["message.*"]}) as response:
            endpoint: Json = await response.json()
            hooks.secret = endpoint["secret"]
        try:
            step(1, "A service hands over a mail")
            message_id = (await send(http, url))["message_id"]
            step(2, "Its events, as they happen (Kafka, " + TOPICS["message-events"].name + ")")
            await asyncio.wait_for(follow(consumer, message_id), PATIENCE)
            step(3, "The same events at a webhook endpoint")
            await asyncio.wait_for(webhooks_of(hooks, message_id), PATIENCE)
            step(4, "The same events in ClickHouse, read through the API")
            await asyncio.wait_for(timeline(http, url, message_id), PATIENCE)
            step(5, "The mail, as it lies in the mailbox")
            await asyncio.wait_for(mail(folder / "mailbox", message_id), PATIENCE)
        finally:
            async with http.delete(f"{url}/v1/webhooks/{endpoint['id']}"):
                pass
    step(6, "Go on")
    print(f"   dashboard  {url}/dashboard/\n   address    {url}\n   key        {key}\n")
    print(f"   curl -s {url}/v1/messages -H 'Authorization: Bearer {key}' \\")
    print("     -H 'Content-Type: application/json' \\")
    print(f"""     -d '{{"recipient": "{RECIPIENT}", "subject": "Hello", "text": "Hello from Sendarix"}}'\n""")
    print("   The stack stays up. `make status` shows it, `make logs` follows it, `make down` ends it.")


def main() -> int:
    folder = run_dir()
    try:
        asyncio.run(demo(json.loads((folder / "stack.json").read_text()), folder))
    except TimeoutError:
        print(f"   … did not happen within {PATIENCE:.0f} s. `make logs` shows what the services say.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
