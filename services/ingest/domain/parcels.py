"""The claim check (R5): content that is too large for Kafka, as the bytes that go to object storage, and their name.

Pure: a helper that has the claim and the identical body makes the same bytes under the same name, so it writes what the
winner wrote, or would have. A parcel belongs to one request, and only its recipients share it.
"""

from dataclasses import dataclass

import orjson

from chassis.blob_keys import blob_key, sha256_of
from schemas.mail import Blob
from services.ingest.domain.acceptance import Accepted, content_of
from services.ingest.domain.submission import Submission

# As long as the inputs topic keeps content, and counted from when the mail may first go out: the retries of a mail are
# over long before.
CONTENT_RETENTION_MS = 7 * 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is to be stored, and how the records name it."""

    blob: Blob
    data: bytes  # the JSON of a Content


def parcel_of(submission: Submission, accepted: Accepted) -> Parcel | None:
    """None where the content is small enough to stand in the records."""
    if not submission.travels_apart():
        return None
    data = orjson.dumps(content_of(submission, accepted).model_dump(by_alias=True))
    sha256 = sha256_of(data)
    may_go_ms = max(accepted.created_at_ms, submission.times.scheduled_ms or 0)
    key = blob_key(needed_until_ms=may_go_ms + CONTENT_RETENTION_MS, owner=accepted.submission_id, sha256=sha256)
    return Parcel(Blob(key=key, sha256=sha256, size=len(data)), data)
