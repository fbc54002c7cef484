"""Over all five processes: a mail that fails is a dead letter, is sent once more, and an alert tells of it once, although
the process that watches is killed in between (R29, R34; D100).
"""

from tests.kit.stack import Json, Stack
from tests.kit.waiting import found

RECIPIENT = "bounce+failures@sandbox.sendarix.test"
BOUNCES = {
    "name": "any bounce at all",
    "measure": "bounced",
    "filters": {"tag": "failures", "environment": "test"},
    "window_seconds": 300,
    "condition": {"above": 0},
}


async def bounced(stack: Stack) -> Json:
    """A dead letter, once it is one."""
    body = {"recipient": RECIPIENT, "subject": "Your code", "text": "847291", "tags": ["failures"]}
    status, answer, _ = await stack.call("POST", "/v1/messages", body, key=stack.key("test"))
    assert status == 202, answer
    return await letter_of(stack, answer["message_id"])


async def letter_of(stack: Stack, message_id: str) -> Json:
    async def there() -> Json | None:
        status, letter, _ = await stack.call("GET", f"/v1/dead-letters/{message_id}")
        return letter if status == 200 else None

    return await found(there, within=60)


async def alerts_told(stack: Stack, rule_id: str, kind: str) -> list[Json]:
    """Once there is one."""

    async def there() -> list[Json] | None:
        status, events, _ = await stack.call("GET", f"/v1/events?types={kind}&limit=100")
        own = [event for event in events.get("data", []) if event["subject"] == rule_id]
        return own if status == 200 and own else None

    return await found(there, within=60)


async def test_a_failure_is_told_once_and_sent_once_more(stack: Stack) -> None:
    status, rule, _ = await stack.call("POST", "/v1/alerts", BOUNCES)
    assert status == 201, rule
    letter = await bounced(stack)
    assert (letter["category"], letter["cause"], letter["tags"]) == ("invalid_recipient", "refused", ["failures"])
    (raised,) = await alerts_told(stack, rule["id"], "alert.raised")
    assert (raised["data"]["value"], raised["data"]["episode"]) == (1, 1)

    stack.kill("analytics")
    path, key = f"/v1/dead-letters/{letter['message_id']}/redrive", stack.key("test")

    async def redriven() -> Json | None:
        """By whoever answers: which have failed, analytics says, which is being restarted."""
        status, answer, _ = await stack.call("POST", path, key=key, Idempotency_Key="failures-1")
        assert status in {202, 503}, answer
        return answer if status == 202 else None

    again = await found(redriven, within=60)
    assert again["redrive_of"] == letter["message_id"]
    assert (await stack.call("POST", path, key=key, Idempotency_Key="failures-1"))[1] == again
    await letter_of(stack, again["message_id"])  # to a mailbox that is still not there
    assert (await letter_of(stack, letter["message_id"]))["redriven_as"] == [again["message_id"]]

    assert (await stack.call("DELETE", f"/v1/alerts/{rule['id']}"))[0] == 200
    (resolved,) = await alerts_told(stack, rule["id"], "alert.resolved")
    assert (resolved["data"]["because"], resolved["data"]["episode"]) == ("deleted", 1)
    assert await alerts_told(stack, rule["id"], "alert.raised") == [raised]
