"""The documentation's example, word for word, from HTTP to the inbox (R1, R8)."""

import json

from tests.e2e.test_one_message import mail_of
from tests.kit.stack import Stack

EXAMPLE = (
    '{"recipient":"user@example.com","subject":"Your verification code","template":"otp-code",'
    '"template_data":{"code":"847291","expires_in":"5 minutes"},"headers":{"X-Idempotency-Key":"uuid-v4-here"}}'
)


async def test_the_documentations_example_word_for_word(stack: Stack) -> None:
    status, answer, headers = await stack.call("POST", "/v1/messages", json.loads(EXAMPLE))
    assert (status, answer["status"], answer["recipient"]) == (202, "queued", "user@example.com")
    assert "Idempotent-Replayed" not in headers
    status, again, headers = await stack.call("POST", "/v1/messages", json.loads(EXAMPLE), ingest=1)
    assert (status, again, headers["Idempotent-Replayed"]) == (202, answer, "true")

    message = await stack.message_when(answer["message_id"], "delivered")
    queued = message["timeline"][0]["data"]
    assert (queued["template"], queued["template_version"]) == ("otp-code", 1)
    mail = mail_of(stack, answer["message_id"])
    assert (mail["Subject"], mail["From"]) == ("Your verification code", "Sendarix <hello@example.com>")
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    assert "Your verification code is 847291.\n\nIt is valid for 5 minutes." in text.get_content().replace("\r\n", "\n")
    assert "<strong>847291</strong>" in html.get_content()

    status, refused, _ = await stack.call("POST", "/v1/messages", {**json.loads(EXAMPLE), "template_data": {}})
    assert (status, refused["error"]["code"]) == (422, "idempotency_key_reused")
    status, refused, _ = await stack.call(
        "POST", "/v1/messages", {"recipient": "user@example.com", "template": "otp-code"}
    )
    assert (status, refused["error"]["code"]) == (422, "template_error")
    assert [(error["variable"], error["line"]) for error in refused["errors"]] == [("code", 1)]
