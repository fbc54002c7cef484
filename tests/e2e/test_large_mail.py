"""A file of 30 MB, from HTTP to the mailbox (R2, R5): byte for byte, to all roles, and nothing of it in Kafka."""

import asyncio
import base64
import hashlib
import io
import json
import os
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import aiohttp
import pytest

from schemas.topics import TOPICS
from tests.kit.stack import Json, Stack

FILE_OCTETS = 30_000_000


async def post(stack: Stack, body: Json) -> tuple[int, Json]:
    raw = await asyncio.to_thread(lambda: json.dumps(body).encode())
    headers = {"Authorization": f"Bearer {stack.key('live')}", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{stack.description['ingest'][0]}/v1/messages", data=io.BytesIO(raw)) as response,
    ):
        return response.status, await response.json()


def parsed(stack: Stack, message_id: str) -> EmailMessage:
    (found,) = [mail for mail in stack.mails() if message_id in str(mail["Message-ID"])]
    mail = message_from_bytes(found.as_bytes(), policy=SMTP)
    assert isinstance(mail, EmailMessage)
    return mail


def blobs_in(stack: Stack) -> list[Path]:
    return [path for path in (stack.run_dir / "blobs").rglob("*") if path.is_file()]


@pytest.mark.timeout(180)
async def test_a_file_of_30_mb_from_http_to_the_mailbox(stack: Stack) -> None:
    data = os.urandom(FILE_OCTETS)
    before = len(blobs_in(stack))
    status, answer = await post(
        stack,
        {
            "recipient": "Ada <ada@example.org>",
            "cc": "Bob <bob@example.org>",
            "bcc": "eve@example.net",
            "subject": "The data",
            "text": "As promised.",
            "html": '<p>As promised. <img src="cid:logo"></p>',
            "attachments": [
                {"filename": "Übersicht 2026.bin", "content": base64.b64encode(data).decode()},
                {"filename": "logo.png", "content": base64.b64encode(b"png").decode(), "content_id": "logo"},
            ],
        },
    )
    assert status == 202, answer
    assert [warning["code"] for warning in answer["warnings"]] == ["large_attachments"]
    assert [message["role"] for message in answer["messages"]] == ["to", "cc", "bcc"]
    assert len(blobs_in(stack)) == before + 1
    for message in answer["messages"]:
        await stack.message_when(message["message_id"], "delivered", within=90)
        mail = await asyncio.to_thread(parsed, stack, message["message_id"])
        assert mail.get_content_type() == "multipart/mixed"
        assert (mail["To"], mail["Cc"], "eve@" in str(mail)[:2000]) == (
            "Ada <ada@example.org>",
            "Bob <bob@example.org>",
            False,
        )
        (file,) = mail.iter_attachments()
        assert file.get_filename() == "Übersicht 2026.bin"
        content = file.get_payload(decode=True)
        assert isinstance(content, bytes)
        assert hashlib.sha256(content).digest() == hashlib.sha256(data).digest()
    events = [json.loads(value) for value in await stack.read_topic("message-events")]
    sizes = {event["data"]["size"] for event in events if event["type"] == "message.queued" and "size" in event["data"]}
    assert max(sizes) > FILE_OCTETS
    assert max(len(value) for value in await stack.read_topic("message-events")) < 20_000
    assert TOPICS["message-inputs.standard"].max_bytes < FILE_OCTETS  # it could not have gone through Kafka
