"""Upstreams (R20, R54): smarthosts of a customer's own, by name of a provider or by hand. Pure.

A password is read here as it was sent, to be sealed at once; it must never be shown, and it never goes to another host
than the one it was given for: whoever changes the host has to know it.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

from chassis.egress import refusal_of_host
from schemas.mail import Tls
from schemas.routing import Upstream
from schemas.topics import POOLS
from services.ingest.domain import paths
from services.ingest.domain.characters import FORBIDDEN_IN_HEADERS
from services.ingest.domain.faults import Fault, invalid
from services.ingest.domain.fields import faults_of_names
from services.ingest.domain.versions import frame_shown

FIELDS = frozenset(
    {
        "name",
        "preset",
        "host",
        "port",
        "tls",
        "username",
        "password",
        "pool",
        "connections",
        "messages_per_connection",
        "per_second",
    }
)
MAX_PORT = 65_535
MAX_CONNECTIONS = 1000
MAX_MESSAGES = 100_000  # over one connection
MAX_PER_SECOND = 10_000.0
MAX_CREDENTIAL = 500  # characters


@dataclass(frozen=True, slots=True)
class Preset:
    """What is known of a provider."""

    host: str
    port: int
    tls: Tls
    connections: int
    messages_per_connection: int
    username: str | None = None
    per_second: float | None = None
    per_day: int | None = None


PRESETS: Mapping[str, Preset] = {
    name: Preset(**fields)
    for name, fields in tomllib.loads(
        files(__package__).joinpath("presets.toml").read_text(encoding="utf-8")
    ).items()
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """Everything about an upstream that can be changed. `password`: a new one; None: the one that is sealed, if any."""

    name: str = ""
    preset: str | None = None
    host: str = ""
    port: int = 587
    tls: Tls = "required"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    password_set: bool = False
    pool: str = "main"
    connections: int = 20
    messages_per_connection: int = 1000
    per_second: float | None = None

    def content(self) -> dict[str, Any]:
        """All but the password, as it is stored."""
        return {
            "name": self.name,
            "preset": self.preset,
            "host": self.host,
            "port": self.port,
            "tls": self.tls,
            "username": self.username,
            "pool": self.pool,
            "connections": self.connections,
            "messages_per_connection": self.messages_per_connection,
            "per_second": self.per_second,
        }


NEW = UpstreamSettings()


def settings_of(upstream: Upstream) -> UpstreamSettings:
    return UpstreamSettings(
        name=upstream.name,
        preset=upstream.preset,
        host=upstream.host,
        port=upstream.port,
        tls=upstream.tls,
        username=upstream.username,
        password_set=upstream.sealed_password is not None,
        pool=upstream.pool,
        connections=upstream.connections,
        messages_per_connection=upstream.messages_per_connection,
        per_second=upstream.per_second,
    )


def read_upstream(body: Mapping[str, Any], before: UpstreamSettings, *, allow_private: bool) -> UpstreamSettings:
    """`before` with the members of `body`; those that are not there stay, or are the preset's where one is named.

    Raises Refused (422) with every fault.
    """
    faults = faults_of_names(body, FIELDS, frozenset())
    start = _with_preset(body["preset"], before, faults) if "preset" in body else before
    found = replace(
        start,
        name=paths.read_name(body.get("name", start.name or start.preset), faults),
        host=_host(body.get("host", start.host), faults, allow_private=allow_private),
        port=_port(body.get("port", start.port), faults),
        tls=paths.read_tls(body.get("tls", start.tls), faults) or NEW.tls,
        username=_credential(body.get("username", start.username), "username", faults),
        pool=_pool(body.get("pool", start.pool), faults),
        connections=paths.read_number(
            body.get("connections", start.connections), "connections", MAX_CONNECTIONS, faults
        )
        or NEW.connections,
        messages_per_connection=paths.read_number(
            body.get("messages_per_connection", start.messages_per_connection),
            "messages_per_connection",
            MAX_MESSAGES,
            faults,
        )
        or NEW.messages_per_connection,
        per_second=paths.read_rate(body.get("per_second", start.per_second), "per_second", MAX_PER_SECOND, faults),
    )
    if "password" in body:
        password = _credential(body["password"], "password", faults)
        found = replace(found, password=password, password_set=password is not None)
    if not any(fault.field in ("username", "password") for fault in faults):
        faults += _faults_of_credentials(found, before)
    if faults:
        raise invalid(faults)
    return found


def upstream_shown(upstream: Upstream) -> dict[str, Any]:
    """As the API shows it: whether there is a password, never which."""
    settings = settings_of(upstream)
    return frame_shown(upstream) | settings.content() | {"password_set": settings.password_set}


def _with_preset(value: Any, before: UpstreamSettings, faults: list[Fault]) -> UpstreamSettings:
    if value is None:
        return replace(before, preset=None)
    preset = PRESETS.get(value) if isinstance(value, str) else None
    if preset is None:
        faults.append(Fault("preset", "invalid_value", f"Presets are: {', '.join(sorted(PRESETS))}; or leave it out."))
        return before
    return replace(
        before,
        preset=value,
        host=preset.host,
        port=preset.port,
        tls=preset.tls,
        username=preset.username or before.username,
        connections=preset.connections,
        messages_per_connection=preset.messages_per_connection,
        per_second=preset.per_second,
    )


def _host(value: Any, faults: list[Fault], *, allow_private: bool) -> str:
    if value is None or value == "":
        faults.append(Fault("host", "required", "Give the host to connect to, or a `preset`."))
    elif not isinstance(value, str):
        faults.append(Fault("host", "invalid_type", "`host` is a string."))
    else:
        host = value.lower().removesuffix(".")
        refusal = refusal_of_host(host, allow_private=allow_private)
        if refusal is None:
            return host
        faults.append(Fault("host", "invalid_value", f"Nothing is sent to this host: {refusal}."))
    return ""


def _port(value: Any, faults: list[Fault]) -> int:
    return paths.read_number(value, "port", MAX_PORT, faults) or NEW.port


def _pool(value: Any, faults: list[Fault]) -> str:
    if isinstance(value, str) and value in POOLS:
        return value
    faults.append(Fault("pool", "invalid_value", f"Pools are: {', '.join(sorted(POOLS))}."))
    return NEW.pool


def _credential(value: Any, name: str, faults: list[Fault]) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and 0 < len(value) <= MAX_CREDENTIAL and not FORBIDDEN_IN_HEADERS.search(value):
        return value
    faults.append(Fault(name, "invalid_value", f"It is one line of 1 to {MAX_CREDENTIAL} characters."))
    return None


def _faults_of_credentials(found: UpstreamSettings, before: UpstreamSettings) -> list[Fault]:
    faults = []
    if found.username is not None and not found.password_set:
        faults.append(Fault("password", "required", "A `username` needs its `password`."))
    if found.username is None and found.password_set:
        faults.append(Fault("username", "required", "A `password` needs its `username`; null takes it away."))
    if found.password_set and found.tls != "required":
        faults.append(Fault("tls", "conflict", "A password goes over verified TLS only: `required`."))
    moved = before.password_set and found.host not in ("", before.host)
    if moved and found.password_set and found.password is None:
        faults.append(Fault("password", "required", "It was given for another host: give it again, or null."))
    return faults
