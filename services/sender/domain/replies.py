"""SMTP replies out of bytes: tolerant where servers are sloppy, capped where they are hostile (RFC 5321, 4.2; D49).

Pure. It never guesses: what is no reply is Garbled, and what that means depends on the phase (outcome.py).
"""

import re
from dataclasses import dataclass

# RFC 5321, 4.5.3.1.5 allows lines of 512 octets. Servers send longer ones, and what they say is read as long as it has an
# end somewhere: to give up on a wordy 250 after the dot would call a delivered mail unknown.
REPLY_LIMIT = 64 * 1024  # octets of one reply, all lines
KEPT_LIMIT = 4096  # octets of a reply that events carry

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -]).*)?", re.DOTALL)
# RFC 3463: class.subject.detail, at the start of the text.
_ENHANCED = re.compile(r"([245]\.(?:0|[1-9][0-9]{0,2})\.(?:0|[1-9][0-9]{0,2}))(?![0-9.])")
# C0 but the line feed between lines, DEL, C1, and the separators that some viewers break lines at.
_INVISIBLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Garbled(ValueError):
    """Bytes that are no SMTP reply; `seen` is how they began."""

    def __init__(self, reason: str, seen: bytes) -> None:
        super().__init__(reason)
        self.seen = visible(seen)


@dataclass(frozen=True, slots=True)
class Reply:
    """`text` is the server's own words, one line per line, each with its code."""

    code: int
    text: str

    @property
    def enhanced_code(self) -> str | None:
        """RFC 3463, as the server gave it: its class may disagree with `code` (Gmail's `421 5.7.32`)."""
        found = _ENHANCED.match(self.text[4:])
        return None if found is None else found[1]


class ReplyReader:
    """Bytes in, replies out. After Garbled the conversation is over: nobody knows which reply answers what."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._lines: list[bytes] = []  # of the reply that is being read; more than is kept of it need not be here
        self._size = 0

    @property
    def empty(self) -> bool:
        """Whether nothing has come since the last complete reply."""
        return not self._buffer and not self._lines

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def take(self) -> Reply | None:
        """The next complete reply, or None until more has come. Raises Garbled."""
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end]).rstrip(b"\r")
            del self._buffer[: end + 1]
            if (reply := self._take_line(line)) is not None:
                return reply
        if self._size + len(self._buffer) > REPLY_LIMIT:
            raise Garbled("a reply without end", bytes(self._buffer))
        return None

    def _take_line(self, line: bytes) -> Reply | None:
        found = _LINE.fullmatch(line)
        if found is None:
            raise Garbled("a line that is no reply", line)
        if not self._lines or self._size < 2 * KEPT_LIMIT:
            self._lines.append(line)
        self._size += len(line) + 2
        if self._size > REPLY_LIMIT:
            raise Garbled("a reply without end", line)
        if self._lines[0][:1] != line[:1]:
            raise Garbled("a reply of two minds", b"\n".join([*self._lines, line]))
        if found[2] == b"-":
            return None
        text = visible(b"\n".join(self._lines))
        self._lines.clear()
        self._size = 0
        return Reply(int(found[1]), text)


def visible(raw: bytes) -> str:
    r"""A server's words fit for an event and a log line: control characters as `\xNN`, at most KEPT_LIMIT octets."""
    text = raw[: KEPT_LIMIT * 2].decode("utf-8", "backslashreplace")
    if len(text) <= KEPT_LIMIT and text.isascii() and text.isprintable():
        return text  # nearly every reply
    shown = _INVISIBLE.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    return shown.encode()[:KEPT_LIMIT].decode("utf-8", "ignore")
