"""One-click unsubscribe links (RFC 8058, R12): which mail has one, for what, and what stands in it.

A link must work for years without a look-up, and tell its bearer nothing, so it holds all that an unsubscription needs,
encrypted and authenticated at once. AES-SIV needs no randomness: who writes a message again writes the same link. Pure.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from schemas.inputs import Submit
from schemas.mail import Environment
from services.ingest.domain.suppression_list import WHOLE_PROJECT

_PURPOSE = b"sendarix one-click unsubscribe"  # the secrets sign message ids, too: a key of its own is derived from each
_MAX_TOKEN_CHARACTERS = 1024  # the longest address and ids make some 700
_OWN_HEADERS = frozenset({"list-unsubscribe", "list-unsubscribe-post"})


@dataclass(frozen=True, slots=True)
class Unsubscription:
    """What a link means."""

    project_id: str
    message_id: str
    environment: Environment
    scope: str  # a tag, or WHOLE_PROJECT
    recipient: str  # the envelope's


def scope_of(tags: Sequence[str], headers: Mapping[str, str], unsubscribe_tags: Sequence[str]) -> str | None:
    """What a link in this mail is for; None where it has none: not asked for, or the customer has written his own.

    A tag of the mail that is named in the project's setting, in the mail's order; where that says `*`, its first tag;
    the whole project for a mail without one.
    """
    if any(name.lower() in _OWN_HEADERS for name in headers):
        return None
    named = next((tag for tag in tags if tag in unsubscribe_tags), None)
    if named is not None or "*" not in unsubscribe_tags:
        return named
    return tags[0] if tags else WHOLE_PROJECT


@dataclass(frozen=True)
class UnsubscribeLinks:
    """Makes and reads links under versioned secrets: the newest makes them, any that is kept opens them."""

    public_url: str  # where recipients reach this service; without a slash at the end
    secrets: Mapping[int, bytes]

    def with_links(self, project_id: str, submits: Sequence[Submit], scope: str) -> list[Submit]:
        """The submits, each with its recipient's own link."""
        return [
            submit.model_copy(
                update={
                    "content": submit.content.model_copy(
                        update={"list_unsubscribe": self.link(_unsubscription_of(submit, project_id, scope))}
                    )
                }
            )
            for submit in submits
        ]

    def link(self, unsubscription: Unsubscription) -> str:
        version = max(self._ciphers)
        body = self._ciphers[version].encrypt(orjson.dumps(astuple(unsubscription)), [bytes([version])])
        return f"{self.public_url}/u/{urlsafe_b64encode(bytes([version]) + body).decode().rstrip('=')}"

    def read(self, token: str) -> Unsubscription | None:
        """What the last part of a link says; None where it was not made here."""
        try:
            raw = urlsafe_b64decode(token[:_MAX_TOKEN_CHARACTERS] + "=" * (-len(token) % 4))
        except (Base64Error, ValueError):
            return None
        cipher = self._ciphers.get(raw[0]) if raw else None
        if cipher is None or len(token) > _MAX_TOKEN_CHARACTERS:
            return None
        try:
            return Unsubscription(*orjson.loads(cipher.decrypt(raw[1:], [raw[:1]])))
        except InvalidTag:
            return None

    @cached_property
    def _ciphers(self) -> Mapping[int, AESSIV]:
        return {version: AESSIV(hmac.digest(secret, _PURPOSE, "sha512")) for version, secret in self.secrets.items()}


def _unsubscription_of(submit: Submit, project_id: str, scope: str) -> Unsubscription:
    return Unsubscription(project_id, submit.message_id, submit.environment, scope, submit.recipient)
