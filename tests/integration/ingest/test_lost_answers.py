"""The client is gone when its answer comes (R3; D7): the mail is accepted once, and the repeat with its key says so."""

import asyncio

import orjson

from tests.integration.ingest.stage import Client, Tenant, holds, queued_in, submits_of
from tests.kit.broker import Broker


async def test_d7_a_client_that_hangs_up_before_the_answer_finds_its_mail_by_its_key(
    own_broker: Broker, ingest: Client, tenant: Tenant
) -> None:
    """D7."""
    mail = tenant.mail(recipient="d7@example.org")
    await send_and_hang_up(ingest, tenant, mail, "hung-up")

    async def accepted() -> bool:
        return len(await in_the_log(own_broker, "d7@example.org")) == 1

    await holds(accepted)
    reply = await ingest.send(tenant, mail, "hung-up")
    assert (reply.status, reply.headers["Idempotent-Replayed"]) == (202, "true")
    assert await in_the_log(own_broker, "d7@example.org") == [reply.json["message_id"]]


async def send_and_hang_up(client: Client, tenant: Tenant, mail: dict[str, object], key: str) -> None:
    """The whole request, and the connection's end right behind it."""
    host, port = client.url.removeprefix("http://").split(":")
    body = orjson.dumps(mail)
    head = (
        f"POST /v1/messages HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {tenant.live}\r\n"
        f"Content-Type: application/json\r\nIdempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode() + body)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def in_the_log(broker: Broker, recipient: str) -> list[str]:
    """Ids of the messages to `recipient` that were submitted, each as often as it was."""
    found = []
    for message_id in set(await queued_in(broker)):
        found += [submit.message_id for submit in await submits_of(broker, message_id) if submit.recipient == recipient]
    return found
