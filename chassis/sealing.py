"""Secrets that must be readable again (webhook signing keys, DKIM keys), encrypted at rest with keys from the environment.

It must never write a key or a plaintext anywhere.
"""

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class WrongSealingKey(ValueError):
    """None of the configured keys opens this text: the key was changed without keeping the old one beside it."""


class Seals:
    """Fernet keys (32 bytes, url-safe base64), newest first: the first seals, any opens."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def seal(self, plaintext: str) -> str:
        return self._fernet.encrypt(plaintext.encode()).decode()

    def open(self, sealed: str) -> str:
        """Raises WrongSealingKey."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken as error:
            raise WrongSealingKey("no configured sealing key opens this secret") from error

    def renew(self, sealed: str) -> str:
        """The same secret under the newest key, so that an old one can be retired. Raises WrongSealingKey."""
        try:
            return self._fernet.rotate(sealed.encode()).decode()
        except InvalidToken as error:
            raise WrongSealingKey("no configured sealing key opens this secret") from error
