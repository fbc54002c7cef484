"""A delivery as the bytes of its mail: written once, the same at each attempt (R22, R23).

Pure. Bodies are 7-bit clean with lines of at most 76 columns, so no server on the way has a reason to touch them; only
a non-ASCII local part in an address makes a mail that needs SMTPUTF8.
"""

import re
from base64 import encodebytes
from binascii import b2a_qp
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import sha256

from schemas.deliveries import Delivery
from services.sender.domain.header_text import UnsafeHeader, address_of, checked, free_text, mailboxes

__all__ = ["Mail", "UnsafeHeader", "compose"]

_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_OWN_FIELDS = frozenset({"from", "to", "subject", "date", "message-id", "mime-version", "content-type"})
_OWN_FIELDS |= {"content-transfer-encoding", "sender", "cc", "bcc", "return-path"}


@dataclass(frozen=True, slots=True)
class Mail:
    """What goes over the wire, before dot-stuffing."""

    envelope_from: str
    recipient: str
    data: bytes
    smtputf8: bool  # an address in the envelope or in the headers has a non-ASCII local part (RFC 6531)


def compose(delivery: Delivery) -> Mail:
    """Raises UnsafeHeader where a header value would break out of its line, or would stand twice."""
    content = delivery.content
    sender = _ascii_domain(address_of(content.from_))
    fields = [
        mailboxes("From", [_with_ascii_domain(content.from_)]),
        mailboxes("To", [_with_ascii_domain(address) for address in content.to or [delivery.recipient]]),
    ]
    if content.reply_to:
        fields.append(mailboxes("Reply-To", [_with_ascii_domain(address) for address in content.reply_to]))
    fields += [
        free_text("Subject", content.subject, literal=True),
        f"Date: {format_datetime(datetime.fromtimestamp(delivery.created_at_ms // 1000, UTC))}\r\n",
        f"Message-ID: <{checked('Message-ID', delivery.message_id)}@{sender.rpartition('@')[2]}>\r\n",
        "MIME-Version: 1.0\r\n",
    ]
    if content.list_unsubscribe is not None:
        fields.append(free_text("List-Unsubscribe", f"<{content.list_unsubscribe}>", literal=False))
        fields.append("List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n")  # RFC 8058
    for name, value in content.headers.items():
        if name.lower() in _OWN_FIELDS or (name.lower() == "reply-to" and content.reply_to):
            raise UnsafeHeader(f"{name} would stand twice")
        fields.append(free_text(name, value, literal=False))
    head, body = "".join(fields), _body(delivery)
    recipient = _ascii_domain(delivery.recipient)
    checked("Return-Path", sender + recipient)
    smtputf8 = not (head.isascii() and sender.isascii() and recipient.isascii())
    return Mail(sender, recipient, head.encode() + body, smtputf8)


def _body(delivery: Delivery) -> bytes:
    text, html = delivery.content.text, delivery.content.html
    if text is not None and html is not None:
        boundary = _boundary(delivery.message_id, text, html)
        head = f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n'.encode()
        between = f"\r\n--{boundary}\r\n".encode()
        parts = between + _part("plain", text) + between + _part("html", html)
        return head + parts + f"\r\n--{boundary}--\r\n".encode()
    return _part("html", html) if html is not None else _part("plain", text or "")


def _boundary(message_id: str, text: str, html: str) -> str:
    """The same for the same mail. `=_` can stand in no quoted-printable or base64 body, so it occurs in neither part."""
    digest = sha256(f"{message_id}\x1f{text}\x1f{html}".encode("utf-8", "replace")).hexdigest()
    return f"=_{digest[:32]}"


def _part(subtype: str, text: str) -> bytes:
    """One text part with its own header: quoted-printable, or base64 where that is shorter."""
    raw = _crlf(text).encode("utf-8", "replace")
    encoding = "quoted-printable"
    encoded = b2a_qp(raw)
    if len(encoded) > len(raw) * 3 // 2:
        encoding, encoded = "base64", encodebytes(raw).replace(b"\n", b"\r\n")
    head = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode() + encoded


def _crlf(text: str) -> str:
    """Every line end as CRLF, and one at the end."""
    lines = _LINE_ENDS.sub("\r\n", text)
    return lines if lines.endswith("\r\n") else lines + "\r\n"


def _with_ascii_domain(text: str) -> str:
    address = address_of(text)
    return text if address.isascii() else text.replace(address, _ascii_domain(address))


def _ascii_domain(address: str) -> str:
    """The address with its domain as A-labels (IDNA); a domain that has none stays, and then needs SMTPUTF8."""
    local, at, domain = address.rpartition("@")
    if domain.isascii():
        return address
    try:
        return local + at + domain.encode("idna").decode("ascii")
    except UnicodeError:
        return address
