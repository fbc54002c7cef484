"""Mail addresses: one parser for every address of the API, so that what is checked is what is sent.

On top of email-validator, which knows the grammar (RFC 5321, 5322, 6531) and IDNA; here stand the forms that we take
and the few things it lets pass. It must never repair an address by cutting something off.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import email_validator
from email_validator.rfc_constants import CASE_INSENSITIVE_MAILBOX_NAMES

from services.ingest.domain.characters import FORBIDDEN_IN_HEADERS

# Whether a domain exists is found out by delivering to it; `x.test` and `x.invalid` are good syntax, and good for tests.
# Emptying this list is the library's documented way to say so.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

MAX_CHARACTERS = 640  # a display name of 320 and an address of 320: longer is refused before anything looks at it
MAX_LOCAL_OCTETS = 64  # RFC 5321 4.5.3.1.1
MAX_NAME_CHARACTERS = 256

# What nearly every address looks like: it is good as it stands, but for capitals in its domain. The library says so of
# each of them, too, in ten times the time; all else is left to it (also punycode, and the local parts that it folds).
_LABEL = r"(?!..--)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PLAIN = re.compile(
    r"([A-Za-z0-9!#$%&'*+/=^_`{|}~-]{1,64}(?:\.[A-Za-z0-9!#$%&'*+/=^_`{|}~-]{1,64}){0,8})@"
    rf"((?:{_LABEL}\.){{1,8}}(?!..--)[A-Za-z0-9][A-Za-z0-9-]{{0,61}}[A-Za-z])"
)
_PLAIN_CHARACTERS = 200  # less than any limit for the whole
_FOLDED = frozenset(CASE_INSENSITIVE_MAILBOX_NAMES)
_ENCODED_WORD = re.compile(r"=\?")
_QUOTED_NAME = re.compile(r'"((?:[^"\\]|\\[^\r\n])*)"')
_PLAIN_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u00a0-\U0010ffff ]+")
_UNSAFE_IN_QUOTED_LOCAL = re.compile(r'["\\<>]')


class InvalidAddress(ValueError):
    """Not an address in a form that we take; the message says why, without repeating the address."""


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox. `envelope` is what stands in MAIL FROM and RCPT TO, `header` what stands in a header field."""

    envelope: str  # local part in NFC, "@", domain as A-label in lower case
    header: str  # the envelope, or `Name <envelope>`
    domain: str  # A-label, lower case


@lru_cache(maxsize=8192)  # a few senders and many repeated recipients: parsing costs 30 µs
def parse_address(text: str) -> Address:
    """Parse `a@b` or `Name <a@b>`. Raises InvalidAddress."""
    return _plain(text) or _parsed(text)


def _plain(text: str) -> Address | None:
    """The address, where it is a plain one; what `_parsed` would make of it."""
    found = _PLAIN.fullmatch(text) if len(text) <= _PLAIN_CHARACTERS else None
    if found is None:
        return None
    local, domain = found[1], found[2].lower()
    if len(local) > MAX_LOCAL_OCTETS or local.lower() in _FOLDED:
        return None
    envelope = f"{local}@{domain}"
    return Address(envelope, envelope, domain)


def _parsed(text: str) -> Address:
    if len(text) > MAX_CHARACTERS:
        raise InvalidAddress(f"An address has at most {MAX_CHARACTERS} characters, with its name.")
    if FORBIDDEN_IN_HEADERS.search(text):
        raise InvalidAddress("An address holds no control characters or line breaks.")
    text = text.strip(" ")
    name, mailbox = _split(text) if text.endswith(">") else ("", text)
    envelope, domain = _mailbox(mailbox)
    return Address(envelope, _header_form(name, envelope), domain)


def parse_domain(text: str) -> str:
    """A domain alone, as an A-label in lower case: as senders' domains are compared. Raises InvalidAddress."""
    address = parse_address(f"postmaster@{text}")
    if "@" in text or address.header != address.envelope:
        raise InvalidAddress("A domain is written as in an address: `example.com`.")
    return address.domain


def _split(text: str) -> tuple[str, str]:
    """`Name <a@b>` into name and mailbox; the name loses its quotes."""
    before, opening, mailbox = text[:-1].rpartition("<")
    if not opening:
        raise InvalidAddress("A `>` without its `<`.")
    name = before.strip(" ")
    if quoted := _QUOTED_NAME.fullmatch(name):
        name = re.sub(r"\\(.)", r"\1", quoted[1]).strip(" ")
    elif re.search(r'["<>\\]', name):
        raise InvalidAddress("The name before `<` must be quoted, or hold no quotes, brackets or backslashes.")
    if _ENCODED_WORD.search(name):
        raise InvalidAddress("Write the name in plain Unicode; it is encoded for you.")
    if len(name) > MAX_NAME_CHARACTERS:
        raise InvalidAddress(f"A name has at most {MAX_NAME_CHARACTERS} characters.")
    return name, mailbox


def _mailbox(mailbox: str) -> tuple[str, str]:
    """The envelope form of `a@b`, and its domain."""
    try:
        parsed = email_validator.validate_email(mailbox, check_deliverability=False, allow_quoted_local=True)
    except email_validator.EmailNotValidError as error:
        raise InvalidAddress(str(error)) from error
    local, domain = parsed.local_part, parsed.ascii_domain
    if len(local.encode()) > MAX_LOCAL_OCTETS:
        raise InvalidAddress(f"The part before the @-sign has at most {MAX_LOCAL_OCTETS} octets.")
    if _ENCODED_WORD.search(local):
        raise InvalidAddress("An encoded word is not an address.")
    if mailbox.startswith('"') and (not mailbox.startswith(f"{local}@") or _UNSAFE_IN_QUOTED_LOCAL.search(local[1:-1])):
        raise InvalidAddress("This quoted form before the @-sign can not be sent unchanged.")
    return f"{local}@{domain}", domain


def _header_form(name: str, envelope: str) -> str:
    if not name:
        return envelope
    if _PLAIN_NAME.fullmatch(name):
        return f"{name} <{envelope}>"
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" <{envelope}>'
