"""What a new stack holds, and that its secrets are made once."""

import stat
from pathlib import Path

from chassis.sealing import Seals
from deploy.local.credentials import KEYS, Credentials, load_or_create
from deploy.local.seed import DOMAIN, records
from schemas.envelope import decode
from schemas.tables import ApiKey, Domain, Project
from schemas.topics import TOPICS
from services.ingest.domain.keys import hash_of, well_formed

_NOW = 1_800_000_000_000


def _payloads(credentials: Credentials) -> list[ApiKey | Domain | Project]:
    topics = {topic.name: topic for topic in TOPICS.values()}
    found = [decode(record.value, topics[record.topic].types).data for record in records(credentials)]
    return [payload for payload in found if isinstance(payload, ApiKey | Domain | Project)]


def test_secrets_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    made = load_or_create(path, _NOW)
    assert load_or_create(path, _NOW + 1) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create(tmp_path / "other.json", _NOW) != made


def test_keys_are_well_formed_and_all_different(tmp_path: Path) -> None:
    keys = load_or_create(tmp_path / "secrets.json", _NOW).keys
    assert set(keys) == {"live", "test", "admin", "standard"}
    assert all(well_formed(credential.key) for credential in keys.values())
    assert len({credential.key for credential in keys.values()}) == len(KEYS)
    assert keys["admin"].key.startswith("sk_admin_")
    assert keys["standard"].key.startswith("sk_live_")


def test_seeding_again_writes_the_same_records(tmp_path: Path) -> None:
    credentials = load_or_create(tmp_path / "secrets.json", _NOW)
    assert list(records(credentials)) == list(records(credentials))


def test_a_project_a_verified_domain_and_limits(tmp_path: Path) -> None:
    """R14: one key of the standard plan, the others without a limit anybody meets."""
    credentials = load_or_create(tmp_path / "secrets.json", _NOW)
    payloads = _payloads(credentials)
    (project,) = (found for found in payloads if isinstance(found, Project))
    (domain,) = (found for found in payloads if isinstance(found, Domain))
    limits = {found.sha256: found.requests_per_minute for found in payloads if isinstance(found, ApiKey)}
    assert project.default_from is not None
    assert project.default_from.endswith(f"@{DOMAIN}>")
    assert (domain.domain, domain.project_id) == (DOMAIN, project.id)
    assert domain.verified_at is not None
    assert domain.checked_at is None  # nobody looks example.com up, and takes its right to send away
    (key,) = domain.dkim_keys
    assert key.sealed_private_key.encode() in b"".join(record.value or b"" for record in records(credentials))
    assert Seals([credentials.sealing_key]).open(key.sealed_private_key)
    assert {name: limits[hash_of(credential.key)] for name, credential in credentials.keys.items()} == {
        "live": 1_000_000,
        "test": 1_000_000,
        "admin": 1_000_000,
        "standard": 1000,
    }


def test_no_record_holds_a_key(tmp_path: Path) -> None:
    credentials = load_or_create(tmp_path / "secrets.json", _NOW)
    values = b"".join(record.value or b"" for record in records(credentials))
    assert not [name for name, credential in credentials.keys.items() if credential.key.encode() in values]
