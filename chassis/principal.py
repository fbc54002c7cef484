"""Who is asking, as ingest tells the services behind it: signed, short-lived, and the only thing they accept."""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import asdict, dataclass

import orjson

HEADER = "X-Sendarix-Principal"
LIFETIME_MS = 60_000


@dataclass(frozen=True, slots=True)
class Principal:
    """One authenticated request: of which project, with which key's scopes, until when (Unix ms)."""

    project_id: str
    key_id: str
    scopes: tuple[str, ...]
    expires_at_ms: int


def sign(principal: Principal, secret: bytes) -> str:
    """The header's value: base64url(JSON) `.` base64url(HMAC-SHA256)."""
    body = urlsafe_b64encode(orjson.dumps(asdict(principal)))
    return f"{body.decode()}.{_mac(body, secret)}"


def verify(header: str, secret: bytes, now_ms: int) -> Principal | None:
    """The principal, or None where the signature is not ours or its time is over."""
    body, _, mac = header.partition(".")
    if not hmac.compare_digest(mac.encode(), _mac(body.encode(), secret).encode()):
        return None
    try:
        fields = orjson.loads(urlsafe_b64decode(body))
    except (Base64Error, orjson.JSONDecodeError):
        return None
    principal = Principal(fields["project_id"], fields["key_id"], tuple(fields["scopes"]), fields["expires_at_ms"])
    return principal if principal.expires_at_ms > now_ms else None


def _mac(body: bytes, secret: bytes) -> str:
    return urlsafe_b64encode(hmac.digest(secret, body, hashlib.sha256)).decode()
