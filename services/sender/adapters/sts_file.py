"""MTA-STS policies in a local file, so that a restart forgets none (RFC 8461, 10.2: who withholds a policy then is found out).

A file that is missing, old or broken costs a fetch per domain; it must never keep the service from starting, or a mail
waiting.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from chassis.telemetry import logger
from services.sender.domain.mta_sts import StsPolicy

_log = logger("mta-sts")


class KeptPolicy(BaseModel):
    model_config = ConfigDict(frozen=True)

    domain: str
    id: str
    policy: StsPolicy
    fetched_at_ms: int
    until_ms: int


_ALL = TypeAdapter(list[KeptPolicy])


def read(file: Path) -> list[KeptPolicy]:
    try:
        return _ALL.validate_json(file.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        _log.warning("mta_sts_file_unreadable", reason=type(error).__name__)
        return []


def write(file: Path, kept: Iterable[KeptPolicy]) -> None:
    """All of it, or nothing."""
    beside = file.with_suffix(".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(_ALL.dump_json(list(kept)))
        os.replace(beside, file)  # noqa: PTH105 - atomic, and says so
    except OSError as error:
        _log.warning("mta_sts_file_not_written", reason=type(error).__name__)
