"""What the sender is told by its environment (`SENDER_*`, `KAFKA_*`)."""

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from chassis.sealing import Seals
from chassis.settings import ServiceSettings, VersionedSecrets
from schemas.topics import POOLS, Duration


def _host_and_port(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("expected host:port")
    return text


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _addresses(text: object) -> object:
    """A comma list of IP addresses."""
    return tuple(str(ip_address(part)) for part in _parts(text)) if isinstance(text, str) else text


def _networks(text: object) -> object:
    """A comma list of CIDR blocks."""
    return tuple(ip_network(part) for part in _parts(text)) if isinstance(text, str) else text


def _servers(text: object) -> object:
    """`address[:port],…`, IPv6 in brackets, as (address, port); names can not be resolved by asking themselves."""
    return tuple(_server(part) for part in _parts(text)) if isinstance(text, str) else text


def _server(text: str) -> tuple[str, int]:
    bare = text.count(":") > 1 and not text.startswith("[")
    address, _, port = (text, "", "") if bare else text.partition("]:" if text.startswith("[") else ":")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("write address[:port], an IPv6 address with a port in brackets")
    return str(ip_address(address.strip("[]"))), int(port or 53)


Network = IPv4Network | IPv6Network
HostPort = Annotated[str, AfterValidator(_host_and_port)]


class SenderSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="SENDER_", extra="ignore")

    port: int = 8083
    # The smarthost of the path `upstream`; none: mail goes to the recipients' own servers, or to the upstreams of routes.
    upstream: HostPort | None = None
    # opportunistic: encrypt where offered, with any certificate; required: encrypted and verified, or not at all.
    upstream_tls: Literal["opportunistic", "required"] = "opportunistic"
    upstream_username: str | None = None
    upstream_password: SecretStr | None = None
    # What we call ourselves in EHLO; the machine's own name would cost a slow look-up, and often is no name at all.
    helo_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,255}$")] = "localhost"
    # A pool is a topic and a consumer group.
    pool: str = "main"
    # From the claim to the final dot: RFC 5321 would wait longer, but until then nobody can say what became of the mail.
    attempt_deadline: Duration = timedelta(seconds=60)
    # For the answer to the dot: giving up earlier makes mails unknown that were delivered (RFC 5321, 4.5.3.2.6).
    reply_timeout: Duration = timedelta(minutes=10)
    # Between another's deadline and calling its attempt unknown: clocks, and a write that was just under way.
    deadline_margin: Duration = timedelta(seconds=5)
    # Transactions at once, wherever they go: each holds a mail in memory, and a socket.
    slots: Annotated[int, Field(ge=1)] = 400
    # Senders of this pool, all told: they share what a provider allows one address.
    replicas: Annotated[int, Field(ge=1)] = 1
    # Connections at once to the smarthost of `upstream` (reference: 20); one destination gets at most half of them.
    connections: Annotated[int, Field(ge=1)] = 20
    messages_per_connection: Annotated[int, Field(ge=1)] = 100
    # Servers end idle sessions after a minute or more; we leave before.
    connection_idle: Duration = timedelta(seconds=30)
    # Deliveries at hand per lane, most of them waiting for a connection: more would only wait here instead of in the log.
    max_in_flight: Annotated[int, Field(ge=1)] = 400
    # Where large content lies: a folder or a URL (s3://bucket/prefix, gs://…, az://…), the same as ingest's.
    blob_url: str = "blobs"
    # For large mails at hand, three times the size of each: as JSON, as a mail, and dot-stuffed. The largest needs 210 MB.
    content_memory: Annotated[int, Field(ge=1)] = 400_000_000
    # Open the DKIM keys that ingest has sealed (a comma list, the same as ingest's); none: mail goes out unsigned.
    sealing_keys: SecretStr | None = None
    # Make the addresses that bounces go to, where a domain has a return path in DNS; none: bounces go to From.
    return_path_secrets: VersionedSecrets | None = None
    # Comma list of addresses of this machine to leave from on the way to MX; none: whatever the system takes.
    source_addresses: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_addresses)] = ()
    # Comma list of address[:port] of resolvers that are asked for MX; none: the machine's own.
    dns_servers: Annotated[tuple[tuple[str, int], ...], NoDecode, BeforeValidator(_servers)] = ()
    # Those resolvers validate DNSSEC, and nobody can change what they say on its way here: DANE counts. Else it does not.
    dns_validates: bool = False
    # Where mail servers listen; another one is for tests.
    mx_port: Annotated[int, Field(ge=1, le=65535)] = 25
    # Comma list of CIDR blocks that mail may go to although they are not public; for tests, and for a network of one's own.
    mx_allowed_networks: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = ()
    # What finds no memory for so long goes back to the router, which knows what else there is to do; so does what finds
    # no slot, half a minute at the latest.
    start_within: Duration = timedelta(minutes=10)

    @field_validator("pool")
    @classmethod
    def _has_topics(cls, pool: str) -> str:
        if pool not in POOLS:
            raise ValueError(f"SENDARIX_POOLS has no {pool!r}: name it there, for all services and the provisioner")
        return pool

    @field_validator("sealing_keys")
    @classmethod
    def _usable(cls, value: SecretStr | None) -> SecretStr | None:
        seals_of(value)
        return value

    @model_validator(mode="after")
    def _password_with_name(self) -> Self:
        if (self.upstream_username is None) != (self.upstream_password is None):
            raise ValueError("upstream_username and upstream_password go together")
        return self


def seals_of(keys: SecretStr | None) -> Seals | None:
    """Raises ValueError for a key that is none."""
    if keys is None:
        return None
    return Seals([key.strip() for key in keys.get_secret_value().split(",") if key.strip()])
