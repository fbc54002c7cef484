"""Standard Webhooks 1.0, `v1`: which headers prove to a receiver that these bytes are ours.

It must never be given other bytes than those that are sent.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with
_FEWEST_KEY_BYTES, _MOST_KEY_BYTES = 24, 64


def keys_of(secrets: str) -> tuple[bytes, ...]:
    """The HMAC keys of one secret, or of several with spaces between them. Raises ValueError."""
    keys = tuple(_key_of(secret) for secret in secrets.split())
    if not keys:
        raise ValueError("no secret")
    return keys


def signed_headers(keys: Sequence[bytes], event_id: str, at_ms: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt at `at_ms` (Unix ms); one signature per key, for receivers that still know the old."""
    timestamp = str(at_ms // 1000)
    signed = b".".join((event_id.encode(), timestamp.encode(), body))
    return {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{_mac(key, signed)}" for key in keys),
    }


def _mac(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _key_of(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a secret is whsec_ and base64") from None
    if not secret.startswith(SECRET_PREFIX) or not _FEWEST_KEY_BYTES <= len(key) <= _MOST_KEY_BYTES:
        raise ValueError(f"a secret is whsec_ and {_FEWEST_KEY_BYTES} to {_MOST_KEY_BYTES} bytes in base64")
    return key
