"""Where bounces go: an address per message (VERP), which says which message it is, and proves that we made it (R27).

    b+<token>@<return path>    token: version of the secret (1 byte), message id (20), HMAC (16), in base32

Every attempt of a message has the same address. Nobody else can make one, nor use one domain's at another: what does not
verify is a forged bounce. Mail servers may change the case of a local part, hence base32. It must never tell more than
the Message-ID field does: strangers keep these addresses in their logs.
"""

import hmac
from base64 import b32decode, b32encode
from collections.abc import Mapping

from chassis.ids import message_id_of, message_octets

_PREFIX = "b+"
_ID, _MAC = 20, 16  # octets
_TOKEN_CHARACTERS = 60  # of 37 octets: with the prefix 62 of the 64 that a local part may have (RFC 5321, 4.5.3.1.1)
_PADDING = "=" * (-_TOKEN_CHARACTERS % 8)
_PURPOSE = b"return path"  # the secrets may be those of other things, too: no key is used for two


class ReturnPaths:
    """Versioned secrets (16 bytes or more each, versions from 0 to 255); the highest makes new addresses, all are believed."""

    def __init__(self, secrets: Mapping[int, bytes]) -> None:
        self._keys = {version: hmac.digest(secret, _PURPOSE, "sha256") for version, secret in secrets.items()}
        self._current = max(secrets)

    def address(self, message_id: str, domain: str) -> str | None:
        """The same for the same message; None where `message_id` is none of ours."""
        octets = message_octets(message_id)
        if octets is None:
            return None
        proven = bytes([self._current]) + octets + self._mac(self._current, octets, domain)
        return f"{_PREFIX}{b32encode(proven).decode().rstrip('=').lower()}@{domain}"

    def message_of(self, address: str) -> str | None:
        """The message that bounced to this address; None where no secret of ours made it."""
        local, _, domain = address.lower().rpartition("@")
        token = local.removeprefix(_PREFIX)
        if len(token) != _TOKEN_CHARACTERS or len(token) == len(local):
            return None
        try:
            version, *_ = proven = b32decode(token.upper() + _PADDING)
        except ValueError:  # not base32
            return None
        octets = proven[1 : 1 + _ID]
        if version not in self._keys or not hmac.compare_digest(proven[1 + _ID :], self._mac(version, octets, domain)):
            return None
        return message_id_of(octets)

    def _mac(self, version: int, octets: bytes, domain: str) -> bytes:
        return hmac.digest(self._keys[version], octets + domain.lower().encode(), "sha256")[:_MAC]
