"""What every service is told by its environment. Nothing else may read the environment.

A bad value stops the process before it has done anything, with every fault in one message.
"""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, SecretBytes, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from schemas.topics import Duration

_MIN_SECRET_BYTES = 16


def _split(text: object) -> object:
    return [part.strip() for part in text.split(",") if part.strip()] if isinstance(text, str) else text


def _secrets_by_version(text: object) -> object:
    """`1:<hex>[,2:<hex>]` as a mapping of version to bytes."""
    if not isinstance(text, str):
        return text
    found: dict[int, bytes] = {}
    for part in text.split(","):
        version, _, digits = part.strip().partition(":")
        if not version.isdigit() or int(version) > 15:
            raise ValueError("write 1:<hex>[,2:<hex>], versions from 0 to 15")
        found[int(version)] = bytes.fromhex(digits)
        if len(found[int(version)]) < _MIN_SECRET_BYTES:
            raise ValueError(f"a secret needs {_MIN_SECRET_BYTES} bytes or more")
    return found


# "1s,5m,2h" and "a,b": lists as people write them in an environment, not JSON.
Durations = Annotated[list[Duration], NoDecode, BeforeValidator(_split)]
Words = Annotated[list[str], NoDecode, BeforeValidator(_split)]
# The highest version is used for what is new; older ones are still believed.
VersionedSecrets = Annotated[dict[int, SecretBytes], NoDecode, BeforeValidator(_secrets_by_version)]


class KafkaSettings(BaseSettings):
    """`KAFKA_*`: how to reach the brokers."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_", extra="ignore")

    bootstrap_servers: str = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_file: Path | None = None
    ssl_cert_file: Path | None = None
    ssl_key_file: Path | None = None
    # A produce that is not acked by then is given up by the client (it may still land: `valid_until` voids it).
    request_timeout: Duration = timedelta(seconds=5)
    # How long a dead or frozen member keeps its partitions; leases end 1.5 s before it.
    session_timeout: Duration = timedelta(seconds=10)
    # No knobs: each other value loses mail. They stand here so that whoever sets one is told, and nothing starts.
    acks: Literal["all"] = "all"
    enable_idempotence: Literal["true"] = "true"
    enable_auto_commit: Literal["false"] = "false"
    auto_offset_reset: Literal["none"] = "none"


class ServiceSettings(BaseSettings):
    """What each service's own settings start from; their environment prefix is the service's name."""

    model_config = SettingsConfigDict(extra="ignore")

    host: str = "127.0.0.1"
    port: int
    instance: str = "1"  # names this replica in logs, in claims and in its state folder
    state_dir: Path = Path("state")  # throw-away views of topics: may be wiped at any time
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    drain_timeout: Duration = timedelta(seconds=20)
    kafka: Annotated[KafkaSettings, Field(default_factory=KafkaSettings)]


S = TypeVar("S", bound=BaseSettings)


def load_settings(settings: type[S], **overrides: Any) -> S:
    """Read `settings` from the environment; on bad values print all of them and exit with status 2."""
    try:
        return settings(**overrides)
    except ValidationError as error:
        faulty = KafkaSettings if error.title == KafkaSettings.__name__ else settings
        prefix = faulty.model_config.get("env_prefix", "")
        for fault in error.errors():
            name = prefix + "_".join(map(str, fault["loc"]))
            print(f"{name.upper()}: {fault['msg']}", file=sys.stderr)
        sys.exit(2)
