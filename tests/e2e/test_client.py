"""The Python client and the command `sendarix` against a running stack (R55); every command and example of its README."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sendarix
from sendarix import AsyncSendarix, Sendarix
from sendarix.shapes import WebhookAttempt

from tests.kit.stack import ROOT, Stack
from tests.kit.waiting import eventually

README = (ROOT / "client" / "README.md").read_text()


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[AsyncSendarix]:
    async with AsyncSendarix(stack.key("live"), url=stack.description["url"]) as made:
        yield made


async def test_a_mail_and_what_became_of_it(stack: Stack, client: AsyncSendarix) -> None:
    mail: sendarix.Mail = {"recipient": "ada@client.example", "subject": "Grüße", "text": "Hi.", "tags": ["client"]}
    sent = await client.messages.send(mail, idempotency_key="client-1")
    assert await client.messages.send(mail, idempotency_key="client-1") == sent
    with pytest.raises(sendarix.IdempotencyKeyReused):
        await client.messages.send({**mail, "text": "Other."}, idempotency_key="client-1")

    await stack.message_when(sent["message_id"], "delivered")
    timeline = (await client.messages.get(sent["message_id"]))["timeline"]
    found = [message async for message in client.messages.list(tag="client", status="delivered", limit=1)]
    assert [message["message_id"] for message in found] == [sent["message_id"]]
    feed = [event async for event in client.events.list() if event["subject"] == sent["message_id"]]
    assert feed == timeline


async def test_a_list_goes_over_several_pages(stack: Stack, client: AsyncSendarix) -> None:
    ids = [(await stack.send(f"page{number}@client.example", tags=["pages"]))["message_id"] for number in range(5)]
    for message_id in ids:
        await stack.message_when(message_id, "delivered")
    found = [message["message_id"] async for message in client.messages.list(tag="pages", limit=2)]
    assert found == sorted(ids, reverse=True)


async def test_a_tail_sees_what_happens_from_now_on(stack: Stack, client: AsyncSendarix) -> None:
    def follow() -> sendarix.Event:
        with Sendarix(stack.key("live"), url=stack.description["url"]) as following:
            return next(following.events.tail("now", types=["message.queued"], poll_seconds=0.1))

    old = await client.messages.send({"recipient": "old@client.example", "subject": "Old", "text": "Old."})
    await stack.message_when(old["message_id"], "delivered")
    tail = asyncio.create_task(asyncio.to_thread(follow))
    new: list[str] = []
    while not tail.done():  # nothing tells that the tail has passed over the past
        sent = await client.messages.send({"recipient": "new@client.example", "subject": "New", "text": "New."})
        new.append(sent["message_id"])
        await asyncio.wait([tail], timeout=0.1)
    assert (await tail)["subject"] in new


async def test_errors_are_exceptions_that_say_what_to_do(client: AsyncSendarix) -> None:
    with pytest.raises(sendarix.ValidationError) as caught:
        await client.messages.send({"recipient": "nobody", "subject": "x\ny", "text": "x"})
    assert {error.field for error in caught.value.errors} == {"recipient", "subject"}
    assert caught.value.request_id is not None
    with pytest.raises(sendarix.NotFound):
        await client.messages.get("msg_unknown")


async def test_suppressions(client: AsyncSendarix) -> None:
    added = await client.suppressions.add("Stop@client.example")
    assert (added["recipient"], added["reason"]) == ("stop@client.example", "manual")
    assert (await client.suppressions.get("stop@client.example"))["recipient"] == "stop@client.example"
    assert [it["id"] async for it in client.suppressions.list(search="stop@client")] == [added["id"]]
    await client.suppressions.remove("stop@client.example")
    assert [it async for it in client.suppressions.list(search="stop@client")] == []


async def test_templates(stack: Stack, client: AsyncSendarix) -> None:
    """R8."""
    made = await client.templates.create({"name": "greeting", "subject": "Hi {{ name }}", "text": "Hi {{ name }}."})
    assert (made["published_version"], made["latest_version"]) == (1, 1)
    draft = await client.templates.update("greeting", {"subject": "Hey {{ name }}", "text": "Hey."})
    assert (draft["published_version"], draft["latest_version"]) == (1, 2)
    assert (await client.templates.render("greeting", {"name": "Ada"}, version=2))["subject"] == "Hey Ada"
    assert (await client.templates.publish("greeting"))["published_version"] == 2
    assert (await client.templates.validate("greeting"))["valid"]
    assert not (await client.templates.validate("greeting", {"text": "{{ name"}))["valid"]
    assert "greeting" in [template["name"] async for template in client.templates.list()]

    mail: sendarix.Mail = {"recipient": "ada@client.example", "template": "greeting"}
    with pytest.raises(sendarix.SendarixError) as caught:
        await client.messages.send({**mail, "template_data": {}})
    assert isinstance(caught.value, sendarix.ValidationError)
    assert caught.value.errors[0].variable == "name"
    sent = await client.messages.send({**mail, "template_data": {"name": "Ada"}})
    assert (await stack.message_when(sent["message_id"], "delivered"))["subject"] == "Hey Ada"
    await client.templates.delete("greeting")
    with pytest.raises(sendarix.NotFound):
        await client.templates.get("greeting")


async def test_a_scheduled_mail_is_moved_and_cancelled(stack: Stack, client: AsyncSendarix) -> None:
    """R6, R7."""
    later = datetime.now(UTC) + timedelta(hours=1)
    mail: sendarix.Mail = {"recipient": "ada@client.example", "subject": "Later", "text": "Later."}
    sent = await client.messages.send({**mail, "scheduled_time": later})
    assert sent["status"] == "scheduled"
    moved = await client.messages.reschedule(sent["message_id"], later + timedelta(hours=1))
    assert moved["message_id"] == sent["message_id"]
    await client.messages.cancel(sent["message_id"])
    assert (await client.messages.cancel(sent["message_id"]))["message_id"] == sent["message_id"]  # asked for again
    await stack.message_when(sent["message_id"], "cancelled")
    done = await client.messages.send(mail)
    await stack.message_when(done["message_id"], "delivered")
    with pytest.raises(sendarix.NotFound):
        await client.messages.cancel(done["message_id"])


async def test_domains(client: AsyncSendarix) -> None:
    """R26: what is to be published is told at once; here no DNS knows of it."""
    made = await client.domains.create("client.example", ed25519=True)
    assert [record["purpose"] for record in made["records"]] == ["dkim", "dkim", "spf", "return_path", "dmarc"]
    assert made in [domain async for domain in client.domains.list()]
    assert (await client.domains.verify(made["id"]))["status"] == "unverified"
    with pytest.raises(sendarix.Conflict):
        await client.domains.create("client.example")
    await client.domains.delete(made["id"])
    with pytest.raises(sendarix.NotFound):
        await client.domains.get(made["id"])


async def test_webhooks(client: AsyncSendarix) -> None:
    made = await client.webhooks.create(url="http://127.0.0.1:9/x", events=["message.bounced"], tags=["otp"])
    assert made["secret"].startswith("whsec_")
    shown = await client.webhooks.get(made["id"])
    assert "secret" not in shown
    assert shown["id"] in [webhook["id"] async for webhook in client.webhooks.list()]
    assert [attempt async for attempt in client.webhooks.attempts(made["id"])] == []
    replay = await client.webhooks.replay(made["id"], since=datetime.now(UTC) - timedelta(hours=1), only_failed=True)
    assert (replay["status"], replay["endpoint_id"]) == ("queued", made["id"])
    assert (await client.webhooks.get_replay(made["id"], replay["id"]))["id"] == replay["id"]
    assert [each["id"] async for each in client.webhooks.replays(made["id"])] == [replay["id"]]
    event_id = (await client.webhooks.test(made["id"]))["event_id"]

    async def failed() -> list[WebhookAttempt]:
        return [attempt async for attempt in client.webhooks.attempts(made["id"], status="failed", event_id=event_id)]

    await eventually(failed, within=30)
    (attempt,) = await failed()
    assert (attempt["cause"], attempt["outcome"], attempt["status_code"]) == ("test", "exhausted", None)
    await client.webhooks.delete(made["id"])
    with pytest.raises(sendarix.NotFound):
        await client.webhooks.get(made["id"])


async def test_api_keys(stack: Stack, client: AsyncSendarix) -> None:
    made = await client.api_keys.create(name="client", environment="test", scopes=["messages.read"])
    async with AsyncSendarix(made["key"], url=stack.description["url"]) as reader:
        assert [message async for message in reader.messages.list(tag="no-such-tag")] == []
        with pytest.raises(sendarix.PermissionDenied):
            await reader.messages.send({"recipient": "a@client.example", "subject": "x", "text": "x"})
        await client.api_keys.revoke(made["id"])
        with pytest.raises(sendarix.AuthenticationFailed):
            await reader.messages.get("msg_unknown")


def environment(stack: Stack) -> dict[str, str]:
    """A user's shell: the client on its path, the two settings, and nothing else of ours."""
    here = str(Path(sys.executable).parent)
    return {
        "PATH": f"{here}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "client" / "src"),
        "SENDARIX_API_KEY": stack.key("live"),
        "SENDARIX_URL": stack.description["url"],
    }


async def run(stack: Stack, *command: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run, command, env=environment(stack), capture_output=True, text=True, timeout=90, check=False
    )


async def test_every_command_of_its_readme_works(stack: Stack) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    script = "set -euo pipefail\n" + "".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    done = await run(stack, bash, "-c", script)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    for sight in (
        "is queued for ada@example.org.",
        "bob@example.org is suppressed.",
        "message.queued",
        "is deleted.",
        "Hello Ada, good",
        "is cancelled.",
    ):
        assert sight in said, said
    assert not [key for key in stack.description["keys"].values() if key in said]


@pytest.mark.parametrize("example", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
async def test_every_example_of_its_readme_works(stack: Stack, example: str) -> None:
    done = await run(stack, sys.executable, "-c", example)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("msg_"), done.stdout
