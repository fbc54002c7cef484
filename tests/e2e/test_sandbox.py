"""Mail of a test key, from HTTP to the sandbox's inbox, and a click on its link (R12, R13)."""

from tests.kit.stack import Json, Stack
from tests.kit.waiting import found

# What happens to a mail to each of the magic addresses.
ENDS = {
    "delivered": "delivered",
    "bounce": "bounced",
    "defer": "deferred",
    "complaint": "complained",
    "unknown": "unknown",
}


async def sent(stack: Stack, recipient: str) -> str:
    body = {"recipient": recipient, "subject": "Your code", "text": "847291"}
    status, answer, _ = await stack.call("POST", "/v1/messages", body, key=stack.key("test"))
    assert status == 202, answer
    message_id: str = answer["message_id"]
    return message_id


async def inbox(stack: Stack, message_id: str) -> Json:
    async def there() -> Json | None:
        status, mail, _ = await stack.call("GET", f"/v1/sandbox/messages/{message_id}", key=stack.key("test"))
        return mail if status == 200 else None

    return await found(there, within=30)


def types_of(message: Json) -> list[str]:
    return [event["type"].removeprefix("message.") for event in message.get("timeline", [])]


async def message_with(stack: Stack, message_id: str, event: str) -> Json:
    """The message once this event stands in its timeline."""

    async def there() -> Json | None:
        message = await stack.message(message_id)
        return message if event in types_of(message) else None

    return await found(there, within=30)


async def test_each_magic_address_does_what_its_name_says_and_no_mail_leaves(stack: Stack) -> None:
    ids = {name: await sent(stack, f"{name}+e2e@sandbox.sendarix.test") for name in ENDS}
    for name, event in ENDS.items():
        await message_with(stack, ids[name], event)
    message = await message_with(stack, ids["complaint"], "complained")
    assert types_of(message) == ["queued", "accepted", "delivered", "complained"]
    assert {event["data"]["environment"] for event in message["timeline"]} == {"test"}
    for name in ("bounce", "complaint"):  # what was tried can be tried again
        status, _, _ = await stack.call("GET", f"/v1/suppressions/{name}+e2e@sandbox.sendarix.test")
        assert status == 404
    again = await sent(stack, "bounce+e2e@sandbox.sendarix.test")
    await message_with(stack, again, "bounced")
    assert not set(ids.values()) & set(stack.copies())


async def test_the_inbox_holds_the_mail_byte_for_byte(stack: Stack) -> None:
    message_id = await sent(stack, "ada@example.org")
    mail = await inbox(stack, message_id)
    assert (mail["recipient"], mail["subject"], mail["text"].strip()) == ("ada@example.org", "Your code", "847291")
    assert f"Message-ID: <{message_id}@" in mail["raw"]
    status, listed, _ = await stack.call("GET", "/v1/sandbox/messages?recipient=ADA@example.org", key=stack.key("test"))
    assert status == 200
    assert message_id in [entry["message_id"] for entry in listed["data"]]
