"""DKIM signatures (RFC 6376, 8301, 8463): relaxed/relaxed, over exactly the bytes that are sent (R26).

Pure: the same mail, keys and time give the same bytes, for an attempt may be carried out again. What a server could add
beside a field that was signed (a second From, a List-Unsubscribe where there was none) breaks the signature: each field
of `SIGNED` is named once more than it stands in the mail. It must never change a byte of what it signs.
"""

import re
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_private_key

PrivateKey = RSAPrivateKey | Ed25519PrivateKey

SIGNED = (
    b"from",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"message-id",
    b"reply-to",
    b"mime-version",
    b"content-type",
    b"content-transfer-encoding",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
)
_COLUMNS = 78  # RFC 5322, 2.1.1; a domain that is longer stands on its line alone, for it can not be cut
_END_OF_HEAD = b"\r\n\r\n"
_BLOCK = 1 << 20  # of a body at a time: the copies that white space costs stay small
_FOLD = re.compile(rb"\r\n(?=[ \t])")


@dataclass(frozen=True, slots=True)
class Signer:
    """A key with the name under which its public half is published: `selector._domainkey.domain`."""

    domain: str
    selector: str
    key: PrivateKey


class UnusableKey(ValueError):
    """It is no RSA or Ed25519 key in PKCS #8."""


def private_key(text: str) -> PrivateKey:
    """From base64 of PKCS #8. Not checked for soundness, which would cost 30 ms: we made it ourselves."""
    try:
        key = load_der_private_key(b64decode(text, validate=True), None, unsafe_skip_rsa_key_validation=True)
    except ValueError as error:
        raise UnusableKey("not a private key") from error
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        raise UnusableKey("neither RSA nor Ed25519")
    return key


def signed(data: bytes, signers: Sequence[Signer], signed_at: int) -> bytes:
    """The mail (CRLF, before dot-stuffing) with a DKIM-Signature field of each signer on top. `signed_at`: Unix seconds."""
    if not signers:
        return data
    end = data.find(_END_OF_HEAD)
    head, body_at = (data, len(data)) if end < 0 else (data[: end + 2], end + len(_END_OF_HEAD))
    names, fields = _signed_fields(head)
    body_hash = b64encode(body_digest(data, body_at)).decode()
    made = [_signature(signer, names, fields, body_hash, signed_at) for signer in signers]
    return b"".join([*made, data])


def _signed_fields(head: bytes) -> tuple[list[bytes], bytes]:
    """The names for h=, and the fields that they stand for in canonical form; fields of one name from the bottom up."""
    canonical: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for line in _FOLD.sub(b"", head).split(b"\r\n"):
        name, _, value = line.partition(b":")
        canonical[name.rstrip().lower()].append(_relaxed(name, value))
    names: list[bytes] = []
    fields: list[bytes] = []
    for name in SIGNED:
        found = canonical.get(name, [])
        names += [name] * (len(found) + 1)
        fields += [field + b"\r\n" for field in reversed(found)]
    return names, b"".join(fields)


def _relaxed(name: bytes, value: bytes) -> bytes:
    """RFC 6376, 3.4.2, of a field that is unfolded already."""
    return name.rstrip().lower() + b":" + _with_single_spaces(value).strip(b" ")


def _with_single_spaces(text: bytes) -> bytes:
    """Each run of spaces and tabs as one space. Half a dozen scans in C cost a tenth of one regular expression."""
    if b"\t" in text:
        text = text.replace(b"\t", b" ")
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    return text


def body_digest(data: bytes, start: int = 0) -> bytes:
    """SHA-256 of the body that begins at `start`, in relaxed form (RFC 6376, 3.4.4): one pass, in blocks of whole lines."""
    end = _end_of_body(data, start)
    digest = sha256()
    for begin, until in _blocks(data, start, end):
        digest.update(_with_single_spaces(data[begin:until]).replace(b" \r\n", b"\r\n"))
    if start < end and not data.endswith(b"\r\n", start, end):
        digest.update(b"\r\n")
    return digest.digest()


def _end_of_body(data: bytes, start: int) -> int:
    """Behind the last line that is not empty; lines of white space alone are empty, too."""
    end = len(data)
    while end > start:
        begin = max(start, end - _BLOCK)
        if (kept := len(data[begin:end].rstrip(b" \t\r\n"))) > 0:
            line_end = data.find(b"\r\n", begin + kept)
            return begin + kept if line_end < 0 else line_end + 2
        end = begin
    return start


def _blocks(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        until = end if end - start <= _BLOCK else data.rfind(b"\r\n", start, start + _BLOCK) + 2
        if until < start + 2:  # a line longer than a block
            until = data.find(b"\r\n", start, end) + 2
            until = end if until < start + 2 else until
        yield start, until
        start = until


def _signature(signer: Signer, names: Sequence[bytes], fields: bytes, body_hash: str, signed_at: int) -> bytes:
    """The whole field. It signs itself with an empty b=, which therefore stands last."""
    algorithm = "rsa-sha256" if isinstance(signer.key, RSAPrivateKey) else "ed25519-sha256"
    what = ["v=1;", f"a={algorithm};", "c=relaxed/relaxed;"]
    who = [f"d={signer.domain};", f"s={signer.selector};", f"t={signed_at};"]
    unsigned = f"{_folded('DKIM-Signature:', [*what, *who])}\r\n{_listed(tuple(names))}\r\n bh={body_hash};\r\n b="
    field = unsigned.encode()
    name, _, value = _FOLD.sub(b"", field).partition(b":")
    octets = _signature_octets(signer.key, fields + _relaxed(name, value))
    return field + _cut(b64encode(octets).decode(), len(" b=")) + b"\r\n"


def _signature_octets(key: PrivateKey, text: bytes) -> bytes:
    """Ed25519 signs the SHA-256 of the text (RFC 8463, 3)."""
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(sha256(text).digest())
    return key.sign(text, PKCS1v15(), SHA256())


@lru_cache(maxsize=64)  # mails differ in a few fields only
def _listed(names: tuple[bytes, ...]) -> str:
    """h= on lines of its own; white space may stand around its colons."""
    texts = [name.decode() for name in names]
    return _folded("", [f"h={texts[0]}", *(f":{name}" for name in texts[1:-1]), f":{texts[-1]};"])


def _folded(name: str, pieces: Sequence[str]) -> str:
    lines = [name]
    for piece in pieces:
        space = "" if piece.startswith(":") else " "
        if len(lines[-1]) + len(space) + len(piece) > _COLUMNS:
            lines.append(f" {piece}")
        else:
            lines[-1] += space + piece
    return "\r\n".join(lines)


def _cut(text: str, column: int) -> bytes:
    """The base64 of b=, from `column` on, folded anywhere: white space in it counts for nothing."""
    first = max(0, _COLUMNS - column)
    rest = range(first, len(text), _COLUMNS - 1)
    return "\r\n ".join([text[:first], *(text[at : at + _COLUMNS - 1] for at in rest)]).encode()
