"""What ingest is told by its environment, as INGEST_*."""

from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from chassis.sealing import Seals
from chassis.settings import ServiceSettings, VersionedSecrets
from schemas.topics import Duration
from services.ingest.domain.networks import Network, parse_network


def _servers(text: object) -> object:
    """`address[:port],…`, IPv6 in brackets, as (address, port); names can not be resolved by asking themselves."""
    if not isinstance(text, str):
        return text
    return tuple(_server(part.strip()) for part in text.split(",") if part.strip())


def _server(text: str) -> tuple[str, int]:
    bare = text.count(":") > 1 and not text.startswith("[")
    address, _, port = (text, "", "") if bare else text.partition("]:" if text.startswith("[") else ":")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("write address[:port], an IPv6 address with a port in brackets")
    return str(ip_address(address.strip("[]"))), int(port or 53)


def _networks(text: object) -> object:
    """A comma list of CIDR blocks."""
    if not isinstance(text, str):
        return text
    return tuple(parse_network(part) for part in text.split(",") if part.strip())


class IngestSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="INGEST_", extra="ignore")

    port: int = 8080
    analytics_url: str
    internal_secret: SecretStr  # shared with analytics: signs who is asking
    # The highest version signs new message ids; older ones are still believed.
    message_id_secrets: VersionedSecrets
    sealing_keys: SecretStr  # comma list, newest first
    replicas: Annotated[int, Field(ge=1)] = 1  # each grants its part of a rate limit
    # Where large content lies: a folder or a URL (s3://bucket/prefix, gs://…, az://…), the same as the sender's.
    blob_url: str = "blobs"
    # For the bodies of large requests at hand: each costs about twice its length until it is answered, the largest 105 MB.
    large_body_memory: Annotated[int, Field(ge=1)] = 128 * 1024 * 1024
    # Event streams: of a project at all replicas together, and of this process.
    streams_per_project: Annotated[int, Field(ge=1)] = 20
    streams: Annotated[int, Field(ge=1)] = 500
    idempotency_window: Duration = timedelta(hours=24)  # R3; half of the topic's retention
    # Counters of rate limits that replicas share (valkey:// or valkeys://); none: each grants its part.
    valkey_url: SecretStr | None = None
    # A round trip takes a millisecond, on a machine that has too much to do a hundred; no counter is worth more.
    valkey_within: Duration = timedelta(milliseconds=500)
    # Comma list of CIDR blocks whose X-Forwarded-For is believed; none: the peer is the client.
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = ()
    # Where recipients reach this service: the links that mails carry. None: as on one machine.
    public_url: Annotated[str, Field(pattern=r"^https?://[^/?#\s]+(/[^?#\s]*)?$")] | None = None
    # Comma list of address[:port] of resolvers that are asked about sender domains; none: the machine's own.
    dns_servers: Annotated[tuple[tuple[str, int], ...], NoDecode, BeforeValidator(_servers)] = ()
    # Ours, where `spf.<it>` says who sends and `bounces.<it>` takes bounces: customers' DNS records point there.
    mail_domain: Annotated[str, Field(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)*$")] = "localhost"
    # Also projects may have upstreams in private networks and on loopback; those of the installation lie anywhere.
    allow_private_upstreams: bool = False
    # What `GET /v1/routes/explain` tells of mail that no rule fits: the routers' ROUTER_DEFAULT_PATH and ROUTER_POOL.
    default_path: str = "upstream"
    pool: str = "main"
    dashboard_dir: Path = Path(__file__).parents[2] / "dashboard" / "dist"  # what `make dashboard` built
    allow_loopback_webhooks: bool = False  # for a stack on one machine; never in production

    @field_validator("message_id_secrets", "internal_secret")
    @classmethod
    def _not_empty(cls, value: object) -> object:
        if not value:
            raise ValueError("may not be empty")
        return value

    @field_validator("valkey_url")
    @classmethod
    def _a_valkey(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("valkey://", "valkeys://")):
            raise ValueError("write valkey://host:port/0 or valkeys://…")
        return value

    @field_validator("sealing_keys")
    @classmethod
    def _usable(cls, value: SecretStr) -> SecretStr:
        seals_of(value)
        return value


def seals_of(keys: SecretStr) -> Seals:
    """Raises ValueError for a key that is none."""
    return Seals([key.strip() for key in keys.get_secret_value().split(",") if key.strip()])
