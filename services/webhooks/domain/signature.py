"""Standard Webhooks 1.0.0: the three headers that let a receiver know the request is ours, and whole.

Pure: bytes and seconds in, headers out. It must sign the very bytes that are sent.
"""

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence

SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix, not a secret


def headers(event_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """`webhook-id`, `webhook-timestamp` (Unix seconds of the attempt), `webhook-signature` (one `v1` per secret).

    `secrets` are `whsec_` + base64, newest first; more than one while a secret is being rotated.
    """
    signed = b"%s.%d.%s" % (event_id.encode(), timestamp, body)
    signatures = [_v1(secret, signed) for secret in secrets]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def _v1(secret: str, signed: bytes) -> str:
    key = b64decode(secret.removeprefix(SECRET_PREFIX))
    return f"v1,{b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"
