"""What a mail server's TLSA records ask of its certificate (DANE; RFC 7672).

Pure. A record that can not be used is no reason to trust anything: with none that can, the connection is encrypted, and
nobody's certificate is believed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256, sha512

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import Certificate, DNSName, load_der_x509_certificate
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

_TRUST_ANCHOR, _END_ENTITY = 2, 3  # the usages that mean something in SMTP (RFC 7672, 3.1)
_DIGEST_LENGTHS = {1: 32, 2: 64}


@dataclass(frozen=True, slots=True)
class Tlsa:
    usage: int
    selector: int  # 0: of the certificate, 1: of its public key
    matching: int  # 0: all of it, 1: its SHA-256, 2: its SHA-512
    data: bytes

    @property
    def usable(self) -> bool:
        fits = self.matching == 0 or len(self.data) == _DIGEST_LENGTHS.get(self.matching)
        return self.usage in {_TRUST_ANCHOR, _END_ENTITY} and self.selector in {0, 1} and fits

    def fits(self, certificate: Certificate) -> bool:
        if self.selector == 0:
            content = certificate.public_bytes(Encoding.DER)
        else:
            content = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        match self.matching:
            case 1:
                return self.data == sha256(content).digest()
            case 2:
                return self.data == sha512(content).digest()
            case _:
                return self.data == content


def usable(records: Sequence[Tlsa]) -> tuple[Tlsa, ...]:
    return tuple(record for record in records if record.usable)


def vouched_for(records: Sequence[Tlsa], chain: Sequence[bytes], names: Sequence[str]) -> bool:
    """Whether the records vouch for what the server showed: its certificate first, as DER.

    A record of the certificate itself says all there is to say, whatever name and dates that has. One of an authority
    vouches for certificates below it that are for one of `names`, and valid now.
    """
    try:
        shown = [load_der_x509_certificate(each) for each in chain]
        if any(record.fits(shown[0]) for record in records if record.usage == _END_ENTITY):
            return True
        above = [record for record in records if record.usage == _TRUST_ANCHOR]
        anchors = [each for each in shown[1:] if any(record.fits(each) for record in above)]
    except (ValueError, UnsupportedAlgorithm):  # what nobody can read vouches for nothing
        return False
    return any(_is_below(anchors, shown, name) for name in names) if anchors else False


def _is_below(anchors: list[Certificate], shown: Sequence[Certificate], name: str) -> bool:
    try:
        PolicyBuilder().store(Store(anchors)).build_server_verifier(DNSName(name)).verify(shown[0], list(shown[1:]))
    except (VerificationError, ValueError):
        return False
    return True
