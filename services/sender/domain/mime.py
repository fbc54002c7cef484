"""A delivery as the bytes of its mail: written once, the same at each attempt (R22, R23).

Pure. Bodies are 7-bit clean with lines of at most 76 columns, so no server on the way has a reason to touch them; only
a non-ASCII local part in an address makes a mail that needs SMTPUTF8. Content that lies in object storage is put into
the delivery before; of a large mail there is one copy beside the one that is read.
"""

from base64 import encodebytes
from binascii import b2a_qp
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from hashlib import sha256

from schemas.deliveries import Delivery
from schemas.mail import Attachment, Content
from services.sender.domain.header_text import (
    SOFT_LIMIT,
    UnsafeHeader,
    address_of,
    checked,
    free_text,
    mailboxes,
    parameterised,
)

__all__ = ["Mail", "UnsafeHeader", "compose", "sender_domain"]

_SEPARATOR = "\x1f"
_BASE64_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_BASE64_COLUMNS = 76  # RFC 2045, 6.8
_BASE64_BLOCK = 10_000 * _BASE64_COLUMNS
_QP_PLAIN = bytes(range(32, 127)) + b"\r\n"
_QP_COLUMNS = 75  # one less than RFC 2045, 6.7, as b2a_qp does
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
    if content.cc:
        fields.append(mailboxes("Cc", [_with_ascii_domain(address) for address in content.cc]))
    if content.reply_to:
        fields.append(mailboxes("Reply-To", [_with_ascii_domain(address) for address in content.reply_to]))
    fields += [
        free_text("Subject", content.subject, literal=True),
        f"Date: {_date(delivery.created_at_ms // 1000)}\r\n",
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
    return Mail(sender, recipient, b"".join([head.encode(), *body]), smtputf8)


@lru_cache(maxsize=64)  # a second has many mails
def _date(seconds: int) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC))


def sender_domain(content: Content) -> str:
    """The domain of From, as it stands in the mail: what a signature must name to be aligned (RFC 9989)."""
    return _ascii_domain(address_of(content.from_)).rpartition("@")[2].lower()


def _body(delivery: Delivery) -> list[bytes]:
    """The MIME entity in pieces: texts, with the pictures of the HTML around them, with the files around that."""
    content = delivery.content
    entity = _texts(delivery)
    inline = [file for file in content.attachments if _is_inline(file, content)]
    if inline:
        kind = "multipart/alternative" if content.text is not None else "text/html"
        entity = _multipart(delivery, f'related; type="{kind}"', [entity, *(_file(file, "inline") for file in inline)])
    others = [_file(file, "attachment") for file in content.attachments if not _is_inline(file, content)]
    return _multipart(delivery, "mixed", [entity, *others]) if others else entity


def _texts(delivery: Delivery) -> list[bytes]:
    text, html = delivery.content.text, delivery.content.html
    if text is not None and html is not None:
        return _multipart(delivery, "alternative", [[_part("plain", text)], [_part("html", html)]])
    return [_part("html", html) if html is not None else _part("plain", text or "")]


def _is_inline(file: Attachment, content: Content) -> bool:
    """Shown within the HTML, if there is any."""
    return file.content_id is not None and content.html is not None


def _multipart(delivery: Delivery, kind: str, parts: Sequence[list[bytes]]) -> list[bytes]:
    boundary = _boundary(delivery.message_id, kind)
    pieces = [f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n'.encode()]
    if len(pieces[0]) > SOFT_LIMIT:
        pieces = [pieces[0].replace(b"; boundary", b";\r\n boundary")]
    for part in parts:
        pieces += [f"\r\n--{boundary}\r\n".encode(), *part]
    return [*pieces, f"\r\n--{boundary}--\r\n".encode()]


def _boundary(message_id: str, kind: str) -> str:
    """The same for the same mail. `=_` can stand in no quoted-printable or base64 body, so it occurs in no part."""
    return f"=_{sha256(f'{message_id}{_SEPARATOR}{kind}'.encode()).hexdigest()[:32]}"


def _file(file: Attachment, disposition: str) -> list[bytes]:
    """An attached file with its own header, its base64 in lines."""
    head = [
        f"Content-Type: {checked('Content-Type', file.content_type)}\r\n",
        "Content-Transfer-Encoding: base64\r\n",
        parameterised("Content-Disposition", disposition, "filename", file.filename),
    ]
    if file.content_id is not None:
        head.append(f"Content-ID: <{checked('Content-ID', file.content_id)}>\r\n")
    return ["".join([*head, "\r\n"]).encode("ascii", "replace"), *_base64_lines(file.content)]


def _base64_lines(content: str) -> Iterator[bytes]:
    """As it came, cut into lines; some at a time, for a line is a small object and a file may have half a million."""
    for start in range(0, len(content), _BASE64_BLOCK):
        block = content[start : start + _BASE64_BLOCK].encode("ascii", "replace")
        if block.translate(None, _BASE64_ALPHABET):
            raise UnsafeHeader("an attachment is not base64")
        yield b"\r\n".join(block[at : at + _BASE64_COLUMNS] for at in range(0, len(block), _BASE64_COLUMNS)) + b"\r\n"


def _part(subtype: str, text: str) -> bytes:
    """One text part with its own header: quoted-printable, or base64 where that is shorter."""
    raw = _crlf(text).encode("utf-8", "replace")
    encoding = "quoted-printable"
    encoded = quoted_printable(raw)
    if len(encoded) > len(raw) * 3 // 2:
        encoding, encoded = "base64", encodebytes(raw).replace(b"\n", b"\r\n")
    head = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode() + encoded


def quoted_printable(raw: bytes) -> bytes:
    """Of text with CRLF line ends, as `b2a_qp` writes it: what is as good as done already is seen much sooner."""
    escaped = raw.replace(b"=", b"=3D")
    if (
        raw.translate(None, _QP_PLAIN)
        or b" \r\n" in raw
        or b"\n.\r" in raw
        or raw.startswith(b".\r")
        or max(map(len, escaped.split(b"\r\n"))) > _QP_COLUMNS
    ):
        return b2a_qp(raw)
    return escaped


def _crlf(text: str) -> str:
    """Every line end as CRLF, and one at the end."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.replace("\n", "\r\n")
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
