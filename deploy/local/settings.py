"""The knobs of the local stack, read from the environment that make hands on. Nothing else here reads it."""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from deploy.local.failure import CannotRunError
from schemas.topics import POOLS, parse_duration

SERVICES = ("ingest", "router", "sender", "webhooks", "analytics")
MAX_REPLICAS = 10  # each service has ten ports
_ROOT = Path(__file__).parents[2]


def parse_replicas(text: object) -> object:
    """Read "ingest=2 router=2" as a mapping over all services; those not named run once. Raises ValueError."""
    if not isinstance(text, str):
        return text
    counts = dict.fromkeys(SERVICES, 1)
    for part in re.split(r"[\s,]+", text.strip()):
        service, _, number = part.partition("=")
        if service not in counts:
            raise ValueError(
                f'{service!r} is no service: name {", ".join(SERVICES)}, as in REPLICAS="ingest=2 router=2"'
            )
        if not re.fullmatch(r"[0-9]+", number) or not 1 <= int(number) <= MAX_REPLICAS:
            raise ValueError(f"{part!r} is no count: write a number from 1 to {MAX_REPLICAS} after the =")
        counts[service] = int(number)
    if counts["analytics"] != 1:
        raise ValueError("analytics runs once here (chDB is one process): leave it out")
    return counts


def _host_and_port(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is no host:port: write, for example, 127.0.0.1:2525")
    return text


def _durations(text: str) -> str:
    wrong = [part for part in text.split(",") if not isinstance(parse_duration(part), timedelta)]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no duration: write half a second as 0.5s, five minutes as 5m, a day as 1d")
    return text


Durations = Annotated[str, AfterValidator(_durations)]


class StackSettings(BaseSettings):
    """What `make up` may be told. Unset knobs leave a service its own default."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, frozen=True)

    replicas: Annotated[Mapping[str, int], NoDecode, BeforeValidator(parse_replicas)] = dict.fromkeys(SERVICES, 1)
    upstream: Annotated[str, AfterValidator(_host_and_port)] | None = None
    retry_schedule: Durations | None = None
    idempotency_window: Durations | None = None
    feedback_window: Durations | None = None
    # The stack takes the ports from here to port_base + 59; below 32768, so that no outgoing connection sits on one.
    port_base: Annotated[int, Field(ge=1024, le=65000)] = 18080
    run_dir: Annotated[Path, AfterValidator(lambda path: (_ROOT / path.expanduser()).resolve())] = _ROOT / ".run"

    @property
    def processes(self) -> Mapping[str, int]:
        """How many of each service run: senders as often as asked for, for each pool."""
        return {**self.replicas, "sender": self.replicas["sender"] * len(POOLS)}

    @model_validator(mode="after")
    def _have_ports(self) -> "StackSettings":
        if self.processes["sender"] > MAX_REPLICAS:
            raise ValueError(f"{self.processes['sender']} senders in {len(POOLS)} pools are more than {MAX_REPLICAS}")
        return self

    def differences(self, running: "StackSettings") -> list[str]:
        """The knobs that were turned now and stand otherwise in a stack that runs already."""
        return [
            name.upper()
            for name in sorted(self.model_fields_set - {"run_dir"})
            if getattr(self, name) != getattr(running, name)
        ]


def load_settings() -> StackSettings:
    """Raises CannotRunError with every fault in one sentence."""
    try:
        return StackSettings()
    except ValidationError as error:
        faults = [
            f"{str((*e['loc'], 'replicas')[0]).upper()}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        ]
        raise CannotRunError("; ".join(faults) + ".") from error
