"""The secrets of one local stack: made once per RUN_DIR, kept in a file that only its owner reads.

Nothing here may print or log one.
"""

import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet
from pydantic import BaseModel, ConfigDict

from chassis.ids import new_id
from chassis.sealing import Seals
from schemas.envelope import to_timestamp
from schemas.tables import DkimKey
from services.ingest.adapters.dkim_keys import new_key_pair
from services.ingest.domain.domains import selector_of
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
    sealing_key: str  # Fernet, for webhook secrets and DKIM keys
    dkim_key: DkimKey | None = None  # of the seeded domain; None: of a stack that is older, whose mail goes unsigned
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
    domain_id, sealing_key = new_id("dom", now_ms), Fernet.generate_key().decode()
    return Credentials(
        created_at=to_timestamp(now_ms),
        project_id=new_id("prj", now_ms),
        domain_id=domain_id,
        keys={
            name: Credential(id=new_id("key", now_ms), environment=environment, key=new_key(environment))
            for name, environment in KEYS.items()
        },
        sealing_key=sealing_key,
        dkim_key=_dkim_key(domain_id, Seals([sealing_key])),
        internal_secret=secrets.token_hex(32),
        message_id_secret=secrets.token_hex(32),
    )


def _dkim_key(domain_id: str, seals: Seals) -> DkimKey:
    """Sealed here, once: a seal is another text each time, and seeding again must write the same."""
    pair = new_key_pair("rsa")
    return DkimKey(
        selector=selector_of(domain_id, "rsa"),
        algorithm="rsa",
        public_key=pair.public,
        sealed_private_key=seals.seal(pair.private),
    )


def write_private(path: Path, text: str) -> None:
    """Replace `path` in one step by a file that only its owner can read."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    part.replace(path)
