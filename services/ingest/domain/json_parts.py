"""How many parts a JSON body has: each becomes an object in memory, thirty times as large as the two bytes it may come as.

Counted before anything is parsed (D74), and only where there can be too many. It must never judge whether it is JSON.
"""

import re

from services.ingest.domain.faults import Refused

# A batch of 1000 mails with 500 members, elements and objects each. In memory they are some 100 MB.
MAX_PARTS = 500_000
_OUTSIDE = re.compile(rb'["\[{,]')
# Of a string, whose commas are no parts: some of it at once, for other threads wait while an expression runs.
_INSIDE = re.compile(rb'(?:[^"\\]{1,65536}+|\\.){1,4096}+|"', re.DOTALL)
_QUOTE = ord('"')


def check_parts(raw: bytes | bytearray) -> None:
    """Raises Refused (413)."""
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") <= MAX_PARTS:
        return
    count, inside = 0, False
    found = _OUTSIDE.search(raw)
    while found is not None:
        if raw[found.start()] == _QUOTE:
            inside = not inside
        elif not inside:
            count += 1
        if count > MAX_PARTS:
            raise Refused("payload_too_large", f"A body has at most {MAX_PARTS} members and elements.")
        found = _INSIDE.match(raw, found.end()) if inside else _OUTSIDE.search(raw, found.end())
