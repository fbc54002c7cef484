"""The client is gone when its answer comes (R3; D7): the mail is accepted once, and the repeat with its key says so."""

import asyncio

import orjson

from schemas.envelope import decode
from schemas.inputs import MESSAGE_INPUTS, Submit
from schemas.topics import message_inputs
from tests.integration.ingest.stage import Client, Tenant, holds
from tests.kit.broker import Broker
from tests.kit.topics import everything_in


async def test_d7_a_client_that_hangs_up_before_the_answer_finds_its_mail_by_its_key(
    own_broker: Broker, ingest: Client, tenant: Tenant
) -> None:
    """D7: or finds that nothing was done, where the server saw the end before the request; either way it goes once."""
    for attempt in range(20):
        recipient, key = f"d7-{attempt}@example.org", f"hung-up-{attempt}"
        mail = tenant.mail(recipient=recipient)
        await send_and_hang_up(ingest, tenant, mail, key)
        was_taken = await in_the_log_soon(own_broker, recipient)
        reply = await ingest.send(tenant, mail, key)
        assert reply.status == 202
        assert await in_the_log(own_broker, recipient) == [reply.json["message_id"]]
        if was_taken:
            assert reply.headers["Idempotent-Replayed"] == "true"
            return
    raise AssertionError("never was a request taken whose client had gone")


async def in_the_log_soon(broker: Broker, recipient: str) -> bool:
    async def there() -> bool:
        return len(await in_the_log(broker, recipient)) == 1

    try:
        await holds(there, within=3)
    except TimeoutError:
        return False
    return True


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
    topic = message_inputs("standard")
    return [
        submit.message_id
        for partition in range(topic.partitions)
        for record in await everything_in(broker.bootstrap_servers, topic.name, partition)
        if record.value is not None and recipient.encode() in record.value
        if isinstance(submit := decode(record.value, MESSAGE_INPUTS).data, Submit) and submit.recipient == recipient
    ]
