"""Header fields as bytes may carry them: folded, ASCII, Unicode only in encoded words and pieces (RFC 5322, 2047, 2231).

Pure. An address, a URL or a msg-id is never cut nor encoded: only whole words of free text and display names are.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby

SOFT_LIMIT = 76  # columns of a line where it can be folded: 78 (RFC 5322, 2.1.1), 76 with encoded words (RFC 2047, 2)
WORD_LIMIT = 75  # characters of one encoded word (RFC 2047, 2)
_LONGEST_PARAMETER = 58  # characters of a parameter's value on one line, beside a name such as filename*12*
_LONGEST_WORD = 900  # of plain text on one line: more would come near the 998 that no line may exceed

_UNSAFE = re.compile(r"[\r\n\0]")
_NAME = re.compile(r"[!-9;-~]{1,76}")
_PRINTABLE = re.compile(r"[ -~]*")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~\-]+)*")
_MAILBOX = re.compile(r"(.*?)\s*<([^<>]*)>\s*", re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_IN_PARAMETER = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+-.^_`{|}~")
_Q_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_Q_OF = {**{byte: f"={byte:02X}" for byte in range(256)}, **{byte: chr(byte) for byte in _Q_PLAIN}, 0x20: "_"}


class UnsafeHeader(ValueError):
    """A header name or value that would end its line: it is never written."""


def checked(name: str, value: str) -> str:
    """`value`, if this field can be written at all. Raises UnsafeHeader (the last line of defence: ingest refuses it)."""
    if not _NAME.fullmatch(name):
        raise UnsafeHeader("a header name is 1 to 76 printable ASCII characters without a colon")
    if _UNSAFE.search(value):
        raise UnsafeHeader(f"{name}: a header value holds no CR, LF or NUL")
    return value


def free_text(name: str, value: str, *, literal: bool) -> str:
    """An unstructured field (Subject, a customer's own): words stay as they are, those that can't are encoded.

    `literal`: the value is what people read, so what looks like an encoded word is encoded, too, and odd white space
    is kept exactly. Otherwise ASCII passes as it was given: it may be a list of URLs, or encoded already.
    """
    words, room = checked(name, value).split(" "), SOFT_LIMIT - len(name) - 2
    if len(value) <= room and "=?" not in value and all(words) and _PRINTABLE.fullmatch(value):
        return f"{name}: {value}\r\n"
    if literal and (not all(words) or any("=?" in word for word in words)):
        return _laid_out(name, list(encoded_words(value, room)))
    return _laid_out(name, list(_with_encoded_runs(words, room)))


def mailboxes(name: str, addresses: Sequence[str]) -> str:
    """An address list field (From, To, Reply-To), folded between and inside the mailboxes, never inside an address."""
    pieces: list[str] = []
    for address in addresses:
        if pieces:
            pieces[-1] += ","
        pieces += _mailbox_pieces(checked(name, address))
    return _laid_out(name, pieces)


@lru_cache(maxsize=1024)  # a few senders, and lists that many recipients share
def _mailbox_pieces(text: str) -> tuple[str, ...]:
    """`a@b` or `Name <a@b>` as it stands in a header: the name as atoms, quoted, or in encoded words."""
    found = _MAILBOX.fullmatch(text)
    if found is None:
        return (text.strip(" "),)
    name, address = found[1].strip(" "), found[2]
    if quoted := _QUOTED.fullmatch(name):
        name = re.sub(r"\\(.)", r"\1", quoted[1])
    if not name:
        return (address,)
    if not _PRINTABLE.fullmatch(name) or "=?" in name:
        return (*encoded_words(name, WORD_LIMIT - len("Reply-To:")), f"<{address}>")
    if _ATOMS.fullmatch(name):
        return (*name.split(" "), f"<{address}>")
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return (f'"{escaped}"', f"<{address}>")


def parameterised(name: str, value: str, parameter: str, text: str) -> str:
    """`Name: value; parameter=text`: the text quoted, or in the pieces of RFC 2231 where it is long or not plain."""
    pieces = [f"{checked(name, value)};", *_parameter_pieces(parameter, checked(name, text))]
    return _laid_out(name, pieces)


def _parameter_pieces(name: str, text: str) -> Iterator[str]:
    if len(text) <= _LONGEST_PARAMETER and _PRINTABLE.fullmatch(text):
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        yield f'{name}="{escaped}"'
        return
    units = [chr(octet) if octet in _IN_PARAMETER else f"%{octet:02X}" for octet in text.encode("utf-8", "replace")]
    sections = ["utf-8''"]
    for unit in units:
        if len(sections[-1]) + len(unit) > _LONGEST_PARAMETER:
            sections.append("")
        sections[-1] += unit
    if len(sections) == 1:
        yield f"{name}*={sections[0]}"
        return
    for number, section in enumerate(sections):
        end = "" if number == len(sections) - 1 else ";"
        yield f"{name}*{number}*={section}{end}"


def address_of(text: str) -> str:
    """The bare address of `a@b` or `Name <a@b>`."""
    found = _MAILBOX.fullmatch(text)
    return text.strip(" ") if found is None else found[2]


def encoded_words(text: str, first_room: int) -> Iterator[str]:
    """`text` as encoded words, each of whole characters; readers drop the white space between them (RFC 2047, 6.2).

    B or Q, whichever is shorter. `first_room`: columns for the first one, which follows the field's name.
    """
    raw = text.encode("utf-8", "replace")
    as_q = sum(3 if len(_Q_OF[byte]) == 3 else 1 for byte in raw)
    in_b = as_q > len(raw) * 4 // 3
    room = max(24, min(first_room, WORD_LIMIT)) - len("=?utf-8?b??=")
    chunk, width = bytearray(), 0
    for character in text:
        octets = character.encode("utf-8", "replace")
        step = sum(len(_Q_OF[octet]) for octet in octets)
        wider = (len(chunk) + len(octets) + 2) // 3 * 4 if in_b else width + step
        if wider > room and chunk:
            yield _encoded_word(bytes(chunk), in_b)
            chunk, width, room = bytearray(), 0, WORD_LIMIT - len("=?utf-8?b??=")
        chunk += octets
        width += step
    yield _encoded_word(bytes(chunk), in_b)


def _encoded_word(octets: bytes, in_b: bool) -> str:
    if in_b:
        return f"=?utf-8?b?{b64encode(octets).decode('ascii')}?="
    return f"=?utf-8?q?{''.join(_Q_OF[octet] for octet in octets)}?="


def _with_encoded_runs(words: Sequence[str], first_room: int) -> Iterator[str]:
    """Plain words as they are; neighbours that need it are encoded together, with the spaces between them."""
    room = first_room
    for plain, run in groupby(words, key=_is_plain):
        if plain:
            yield from run
        else:
            yield from encoded_words(" ".join(run), room)
        room = WORD_LIMIT


def _is_plain(word: str) -> bool:
    return len(word) <= _LONGEST_WORD and _PRINTABLE.fullmatch(word) is not None


def _laid_out(name: str, pieces: Sequence[str]) -> str:
    """`Name: piece piece …` with CRLF, folded before a piece where the line would pass the soft limit.

    Never folded beside an empty piece (a doubled space): a line of white space alone would end the header for some.
    """
    lines = [f"{name}:"]
    blank_before = True  # the first piece stays on the name's line, however long: an empty first line confuses readers
    for piece in pieces:
        if piece and not blank_before and len(lines[-1]) + 1 + len(piece) > SOFT_LIMIT:
            lines.append(f" {piece}")
        else:
            lines[-1] += f" {piece}"
        blank_before = not piece
    return "\r\n".join(lines) + "\r\n"
