"""The secrets of one local stack: made once per RUN_DIR, kept in a file that only its owner reads.

Nothing here may print or log one.
"""

import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet
from pydantic import BaseModel, ConfigDict

from chassis.ids import new_id
from schemas.envelope import to_timestamp
from services.ingest.domain.keys import KeyEnvironment, new_key

# Names as stack.json gives them, each with its environment.
KEYS: dict[str, KeyEnvironment] = {"live": "live", "test": "test", "admin": "admin", "standard": "live"}


class Credential(BaseModel):
    """One API key, whole."""

    model_config = ConfigDict(frozen=True)

    id: str
    environment: KeyEnvironment
    key: str


class Credentials(BaseModel):
    """Everything secret, and the ids that go with it."""

    model_config = ConfigDict(frozen=True)

    created_at: str
    project_id: str
    domain_id: str
    keys: dict[str, Credential]
    sealing_key: str  # Fernet, for webhook secrets
    internal_secret: str  # between ingest and analytics
    message_id_secret: str  # hex, version 1


def load_or_create(path: Path, now_ms: int) -> Credentials:
    """The credentials in `path`; made and written (mode 600) where there are none."""
    if path.exists():
        return Credentials.model_validate_json(path.read_bytes())
    made = _make(now_ms)
    write_private(path, made.model_dump_json(indent=2))
    return made


def _make(now_ms: int) -> Credentials:
    return Credentials(
        created_at=to_timestamp(now_ms),
        project_id=new_id("prj", now_ms),
        domain_id=new_id("dom", now_ms),
        keys={
            name: Credential(id=new_id("key", now_ms), environment=environment, key=new_key(environment))
            for name, environment in KEYS.items()
        },
        sealing_key=Fernet.generate_key().decode(),
        internal_secret=secrets.token_hex(32),
        message_id_secret=secrets.token_hex(32),
    )


def write_private(path: Path, text: str) -> None:
    """Replace `path` in one step by a file that only its owner can read."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    part.replace(path)
