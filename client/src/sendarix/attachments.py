"""Bytes as an attachment."""

from base64 import b64encode
from mimetypes import guess_type

from sendarix.shapes import Attachment


def attachment(
    filename: str, content: bytes, *, content_type: str | None = None, content_id: str | None = None
) -> Attachment:
    """For `attachments` of a mail; with `content_id` it stands inside the html (`<img src="cid:…">`)."""
    made: Attachment = {"filename": filename, "content": b64encode(content).decode()}
    kind = content_type or guess_type(filename)[0]
    if kind is not None:
        made["content_type"] = kind
    if content_id is not None:
        made["content_id"] = content_id
    return made
