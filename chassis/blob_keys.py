"""How blobs are named: by the day they may be deleted after, who put them there, and what is in them.

Pure: who makes the key of the same content for the same owner again gets the same key, so a second write harms nobody.
A name says all that the sweeper needs; it must never have to ask anyone.
"""

import hashlib
import re
from datetime import UTC, date, datetime, timedelta

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def sha256_of(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def blob_key(*, needed_until_ms: int, owner: str, sha256: str) -> str:
    """`{delete-after day}/{owner}/{sha256}`: kept to the end of the day (UTC) in which `needed_until_ms` lies."""
    return f"{_day_of(needed_until_ms).isoformat()}/{owner}/{sha256}"


def kept_until_ms(key: str) -> int:
    """The first moment at which the sweeper may delete it. Raises ValueError where `key` is none of ours."""
    day = key.partition("/")[0]
    if not _DAY.fullmatch(day):
        raise ValueError("a blob's key begins with a day")
    end = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)
    return round(end.timestamp() * 1000)


def is_over(day: str, now_ms: int) -> bool:
    """Whether all that lies under the prefix `day` may go; what is not a day is not ours, and stays."""
    return bool(_DAY.fullmatch(day)) and day < _day_of(now_ms).isoformat()


def _day_of(time_ms: int) -> date:
    return datetime.fromtimestamp(time_ms / 1000, UTC).date()
