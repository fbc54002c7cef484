"""Files with a mail: names that are names, types that are types, content that is base64, nothing that a click runs.

Pure, and sparing: a file of 40 MB is looked through in small pieces and never held a second time.
"""

import binascii
import re
from collections.abc import Mapping
from mimetypes import MimeTypes
from typing import Any

from schemas.mail import Attachment
from services.ingest.domain.characters import FORBIDDEN_IN_HEADERS
from services.ingest.domain.denied_attachments import DENIED_EXTENSIONS, DENIED_TYPES
from services.ingest.domain.faults import Fault
from services.ingest.domain.fields import faults_of_names

MAX_ATTACHMENTS = 50
MAX_FILENAME_OCTETS = 255  # what file systems take
MAX_CONTENT_TYPE_CHARACTERS = 255
WARN_OCTETS = 25 * 1024 * 1024  # R5: beyond it many mailboxes refuse, as Gmail does
_STEP = 1024 * 1024  # characters of base64 looked at at once: others get their turn in between

_FIELDS = frozenset({"filename", "content", "content_type", "content_id"})
# Marks that turn the direction of writing make `exe.fdp` read `pdf.exe`, or the other way round.
_TURNS = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_PATHS = re.compile(r'[/\\:*?"<>|]')  # also what Windows takes in no name
_WORD = r"[A-Za-z0-9!#$&^_.+-]+"
_TYPE = re.compile(rf"({_WORD}/{_WORD})((?:; ?{_WORD}=(?:{_WORD}|\"[ !#-\[\]-~]*\"))*)")
_OWN_PARAMETERS = re.compile(r"; ?(name|boundary)=", re.IGNORECASE)
# As it stands behind `cid:` in the HTML, without escapes, and between < and > in the header.
_CONTENT_ID = re.compile(r"[A-Za-z0-9!#$&'*+=^_`{|}~.@-]{1,128}")
_TYPES = MimeTypes()  # Python's own table: the same on every machine


def read_attachments(value: Any, faults: list[Fault]) -> tuple[Attachment, ...]:
    """A list of attachments, or null for none; what is wrong with it is added to `faults`."""
    if value is None:
        return ()
    if not isinstance(value, list):
        faults.append(Fault("attachments", "invalid_type", "`attachments` is a list of objects."))
        return ()
    if len(value) > MAX_ATTACHMENTS:
        faults.append(Fault("attachments", "too_many", f"There may be {MAX_ATTACHMENTS} attachments."))
        return ()
    found = [_attachment(item, f"attachments[{index}]", faults) for index, item in enumerate(value)]
    seen: set[str] = set()
    for index, attachment in enumerate(found):
        if attachment is None or attachment.content_id is None:
            continue
        if attachment.content_id in seen:
            faults.append(Fault(f"attachments[{index}].content_id", "duplicate", "This content_id is given twice."))
        seen.add(attachment.content_id)
    return tuple(attachment for attachment in found if attachment is not None)


def octets_of(attachment: Attachment) -> int:
    """How long the file is, once decoded."""
    return len(attachment.content) // 4 * 3 - attachment.content[-2:].count("=")


def _attachment(item: Any, where: str, faults: list[Fault]) -> Attachment | None:
    if not isinstance(item, dict):
        faults.append(Fault(where, "invalid_type", "An attachment is an object with `filename` and `content`."))
        return None
    before = len(faults)
    unknown = faults_of_names(item, _FIELDS, frozenset())
    faults += [Fault(f"{where}.{fault.field}", fault.code, fault.message) for fault in unknown]
    filename = _text(item, "filename", where, faults, _filename_fault)
    content = _text(item, "content", where, faults, _content_fault)
    content_type = _content_type(item, filename or "", where, faults)
    content_id = None
    if item.get("content_id") is not None:
        content_id = _text(item, "content_id", where, faults, _content_id_fault)
    if len(faults) > before or filename is None or content is None:
        return None
    return Attachment(filename=filename, content_type=content_type, content=content, content_id=content_id)


def _text(item: Mapping[str, Any], field: str, where: str, faults: list[Fault], fault_of: Any) -> str | None:
    value = item.get(field)
    if value is None:
        faults.append(Fault(f"{where}.{field}", "required", f"Give a {field}."))
    elif not isinstance(value, str):
        faults.append(Fault(f"{where}.{field}", "invalid_type", f"`{field}` is a string."))
    elif (fault := fault_of(value)) is not None:
        faults.append(Fault(f"{where}.{field}", *fault))
    else:
        return value
    return None


def _filename_fault(name: str) -> tuple[str, str] | None:
    if FORBIDDEN_IN_HEADERS.search(name) or _TURNS.search(name):
        return "forbidden_characters", "A file name holds no control characters, line breaks or marks of direction."
    if _PATHS.search(name):
        return "invalid_filename", 'A file name is no path: it holds none of / \\ : * ? " < > |.'
    if not 0 < len(name.encode()) <= MAX_FILENAME_OCTETS:
        return "invalid_filename", f"A file name has 1 to {MAX_FILENAME_OCTETS} bytes."
    if name.strip(" ") != name or name.endswith("."):
        return "invalid_filename", "A file name begins with no space and ends in no space or dot."
    extension = name.lower().rpartition(".")[2] if "." in name else ""
    if extension in DENIED_EXTENSIONS:
        return "attachment_denied", "Files of this kind are refused, for a click may run them; send a link instead."
    return None


def _content_fault(content: str) -> tuple[str, str] | None:
    """Whether it is base64 by RFC 4648: its own alphabet, padded, nothing in between."""
    padding = content.find("=")
    good = len(content) % 4 == 0 and (padding < 0 or padding >= len(content) - 2)
    try:
        for start in range(0, len(content) if good else 0, _STEP):
            binascii.a2b_base64(content[start : start + _STEP], strict_mode=True)
    except ValueError:  # binascii.Error is one
        good = False
    return (
        None
        if good
        else ("invalid_base64", "It is base64 (RFC 4648), padded, without line breaks or other characters.")
    )


def _content_type(item: Mapping[str, Any], filename: str, where: str, faults: list[Fault]) -> str:
    """The given one, or what the name tells."""
    if item.get("content_type") is None:
        return _guessed(filename)
    return _text(item, "content_type", where, faults, _content_type_fault) or ""


def _guessed(filename: str) -> str:
    found, encoding = _TYPES.guess_type(filename)
    return "application/octet-stream" if found is None or encoding is not None else found


def _content_type_fault(text: str) -> tuple[str, str] | None:
    found = _TYPE.fullmatch(text) if len(text) <= MAX_CONTENT_TYPE_CHARACTERS else None
    if found is None or _OWN_PARAMETERS.search(found[2]):
        return "invalid_content_type", "A content type is `type/subtype`, with parameters but for name and boundary."
    essence = found[1].lower()
    if essence.startswith(("multipart/", "message/")):  # they may not be base64 (RFC 2046)
        return "invalid_content_type", "Attach a whole mail as application/octet-stream, with a name in .eml."
    if essence in DENIED_TYPES:
        return "attachment_denied", "Files of this kind are refused, for a click may run them; send a link instead."
    return None


def _content_id_fault(text: str) -> tuple[str, str] | None:
    if _CONTENT_ID.fullmatch(text):
        return None
    return (
        "invalid_content_id",
        "It is what stands behind `cid:` in the HTML: 1 to 128 letters, digits or .@_-+, no < and >.",
    )
