"""Our calls before both official verifiers, Python's and npm's: a rotated, an old and a forged signature (R31, D96)."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from chassis.clock import SystemClock
from services.webhooks.adapters.http import HttpPoster
from services.webhooks.domain.sign import keys_of, signed_headers
from tests.kit.node import node, npm
from tests.kit.webhook_receiver import WebhookReceiver

FOLDER = Path(__file__).with_name("verifier")
OLD, NEW, FORGED = ("whsec_" + letter * 42 + "A=" for letter in "Qgw")
BODY = '{"timestamp":"2026-09-21T14:13:20.123Z","data":{"subject":"Grüße 🎉 \\u2028 </script>"}}'.encode()
MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Case:
    """One call, and whether who knows `secret` is to accept it."""

    secret: str
    headers: Mapping[str, str]
    body: str
    accepted: bool

    def with_header(self, name: str, value: str) -> "Case":
        return replace(self, headers={**self.headers, name: value}, accepted=False)


async def test_d96_both_verifiers_accept_our_calls_and_no_others(tmp_path: Path) -> None:
    cases = await the_cases()
    by_python = [accepted_by_python(case) for case in cases]
    assert by_python == [case.accepted for case in cases]
    assert await accepted_by_npm(cases, tmp_path) == by_python


async def the_cases() -> list[Case]:
    rotating = await called(f"{NEW} {OLD}")
    after = await called(NEW)
    late, early = await called(NEW, -6 * MINUTE_MS), await called(NEW, 6 * MINUTE_MS)
    plain = Case(NEW, *after, accepted=True)
    mac = plain.headers["webhook-signature"].removeprefix("v1,")
    return [
        Case(OLD, *rotating, accepted=True),
        Case(NEW, *rotating, accepted=True),
        Case(FORGED, *rotating, accepted=False),
        plain,
        Case(OLD, *after, accepted=False),
        Case(NEW, *late, accepted=False),
        Case(NEW, *early, accepted=False),
        replace(plain, body=plain.body.replace("Grüße", "Gruesse"), accepted=False),
        plain.with_header("webhook-id", "evt_2"),
        plain.with_header("webhook-timestamp", str(int(plain.headers["webhook-timestamp"]) - 1)),
        plain.with_header("webhook-signature", "v1,"),  # Svix CVE-2024-21491
        plain.with_header("webhook-signature", f"v1,{mac[:4]}"),
        plain.with_header("webhook-signature", f"v2,{mac}"),
        plain.with_header("webhook-signature", mac),
    ]


async def called(secrets: str, later_ms: int = 0) -> tuple[Mapping[str, str], str]:
    """The headers and the body of a call signed with these secrets, as a receiver gets them."""
    poster = HttpPoster(allow_loopback=True)
    await poster.start()
    async with WebhookReceiver() as receiver:
        headers = signed_headers(keys_of(secrets), "evt_1", SystemClock().now_ms() + later_ms, BODY)
        await poster.post(receiver.url(), headers, BODY)
        (request,) = receiver.received
    await poster.stop()
    return request.headers, request.body.decode()


def accepted_by_python(case: Case) -> bool:
    try:
        Webhook(case.secret).verify(case.body, dict(case.headers))
    except (WebhookVerificationError, ValueError):  # the library says ValueError where a signature has no comma
        return False
    return True


async def accepted_by_npm(cases: list[Case], folder: Path) -> list[bool]:
    for name in ("package.json", "package-lock.json", "verify.mjs"):
        shutil.copy(FOLDER / name, folder)
    await npm("ci", cwd=folder)
    calls = [{"secret": case.secret, "headers": dict(case.headers), "body": case.body} for case in cases]
    (folder / "calls.json").write_text(json.dumps(calls), encoding="utf-8")
    said: list[bool] = json.loads(await node("verify.mjs", "calls.json", cwd=folder))
    return said


@pytest.mark.parametrize("secrets", ["whsec_", "whsec_AAAA", "no secret", ""])
def test_what_is_no_secret_signs_nothing(secrets: str) -> None:
    with pytest.raises(ValueError, match="secret"):
        keys_of(secrets)
