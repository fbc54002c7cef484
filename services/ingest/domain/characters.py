"""Which characters a mail may hold where. Bare line breaks and NUL in the wrong place are how headers are forged."""

import re

# C0, DEL, C1 (NEL is a line break to many readers), line and paragraph separators, lone surrogates.
FORBIDDEN_IN_HEADERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Bodies have lines and tabs; other C0 characters have no place in a mail and NUL ends it in some readers.
FORBIDDEN_IN_BODIES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
_FORBIDDEN_OCTETS = bytes(set(range(32)) - set(b"\t\n\r"))


def forbidden_in_body(text: str) -> bool:
    """Whether `text` holds one of FORBIDDEN_IN_BODIES; for ASCII, as most of a mail is, in a fifth of the time."""
    if not text.isascii():
        return FORBIDDEN_IN_BODIES.search(text) is not None
    octets = text.encode()
    return len(octets.translate(None, _FORBIDDEN_OCTETS)) != len(octets)
