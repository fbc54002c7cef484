"""New DKIM key pairs. A private half leaves this module as text to be sealed at once; it must never be logged."""

import asyncio
from base64 import b64encode

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from services.ingest.ports import Algorithm, KeyPair

_RSA_BITS = 2048  # what fits a TXT record and every verifier takes (RFC 8301)


class NewKeyPairs:
    """See `services.ingest.ports.KeyPairs`."""

    async def make(self, algorithm: Algorithm) -> KeyPair:
        """In a thread: finding the primes of an RSA key takes about 100 ms."""
        return await asyncio.to_thread(new_key_pair, algorithm)


def new_key_pair(algorithm: Algorithm) -> KeyPair:
    if algorithm == "rsa":
        made = rsa.generate_private_key(65537, _RSA_BITS)
        public = made.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return KeyPair(_text(public), _text(made.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())))
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return KeyPair(_text(public), _text(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())))


def _text(octets: bytes) -> str:
    return b64encode(octets).decode()
