"""`topics.yaml`, typed. Code names a topic by its entry (`TOPICS["message-events"]`), never by its Kafka name."""

import os
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from schemas.alerts import ALERT_RULES, ALERT_STATES
from schemas.deliveries import ATTEMPT_JOURNAL, DELIVERIES
from schemas.envelope import Payload
from schemas.events import ACCOUNT_EVENTS, MESSAGE_EVENTS
from schemas.idempotency import IDEMPOTENCY
from schemas.inputs import MESSAGE_INPUTS
from schemas.mail import Lane
from schemas.replies import REPLIES
from schemas.routing import DESTINATIONS, PATH_HEALTH, POLICIES, QUEUE_CONTROLS, ROUTES, UPSTREAMS
from schemas.sandbox import SANDBOX_MAILS
from schemas.states import STATE_RECORDS
from schemas.tables import (
    API_KEY_USAGE,
    API_KEYS,
    DOMAINS,
    ENDPOINT_EXHAUSTIONS,
    ENDPOINT_HEALTH,
    PROJECTS,
    QUEUE_STATE,
    SUPPRESSIONS,
    WEBHOOK_ENDPOINTS,
)
from schemas.templates import TEMPLATES
from schemas.webhooks import WEBHOOK_ATTEMPTS, WEBHOOK_COMMANDS, WEBHOOK_DELIVERIES, WEBHOOK_REPLAYS

RECORD_TYPES: Mapping[str, type[Payload]] = {
    **MESSAGE_INPUTS,
    **STATE_RECORDS,
    **DELIVERIES,
    **ATTEMPT_JOURNAL,
    **MESSAGE_EVENTS,
    **ACCOUNT_EVENTS,
    **SUPPRESSIONS,
    **API_KEYS,
    **API_KEY_USAGE,
    **PROJECTS,
    **DOMAINS,
    **WEBHOOK_ENDPOINTS,
    **ENDPOINT_HEALTH,
    **ENDPOINT_EXHAUSTIONS,
    **TEMPLATES,
    **QUEUE_STATE,
    **ROUTES,
    **UPSTREAMS,
    **POLICIES,
    **ALERT_RULES,
    **ALERT_STATES,
    **QUEUE_CONTROLS,
    **DESTINATIONS,
    **PATH_HEALTH,
    **IDEMPOTENCY,
    **REPLIES,
    **SANDBOX_MAILS,
    **WEBHOOK_COMMANDS,
    **WEBHOOK_DELIVERIES,
    **WEBHOOK_ATTEMPTS,
    **WEBHOOK_REPLAYS,
}

_NAME = re.compile(r"^mail\.(public|internal)\.[a-z][a-z0-9-]*(\.[a-z0-9-]+)*\.v[1-9][0-9]*$")
_POOL = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_OF_POOL = "{pool}"
_POOLS_SETTING = "SENDARIX_POOLS"
_KEYED = "keyed"
_PARTITIONS_SETTING = "SENDARIX_PARTITIONS"
_MOST_PARTITIONS = 1024  # a message id has ten bits for its partition
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
# A dead letter is its source record plus headers, so its topic takes larger batches than any source.
DLQ_MAX_BYTES = 12 * 1024 * 1024
DLQ_RETENTION = timedelta(days=30)


def parse_duration(text: object) -> object:
    """`7d`, `30m`, `1.5s` as a timedelta; anything else is left for pydantic to judge."""
    if isinstance(text, str) and (found := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip())):
        return timedelta(**{_UNITS[found[2]]: float(found[1])})
    return text


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


class Topic(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    entry: str
    name: str
    about: str
    key: str
    partitions: int
    cleanup: Literal["delete", "compact"]
    retention: Duration | None = None
    timestamps: Literal["append", "create"]
    max_bytes: int
    records: tuple[str, ...]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    dlq: tuple[str, ...] = ()

    @property
    def public(self) -> bool:
        return self.name.startswith("mail.public.")

    @property
    def types(self) -> Mapping[str, type[Payload]]:
        """The `types` argument of `schemas.envelope.decode` for this topic."""
        return {name: RECORD_TYPES[name] for name in self.records}

    @model_validator(mode="after")
    def _sound(self) -> "Topic":
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name}: not mail.<public|internal>.<noun>[.<variant>].v<major>")
        if unknown := set(self.records) - set(RECORD_TYPES):
            raise ValueError(f"{self.name}: no such record types: {sorted(unknown)}")
        if (self.cleanup == "delete") != (self.retention is not None):
            raise ValueError(f"{self.name}: `delete` needs a retention, `compact` takes none")
        return self


def dlq_name(group: str, topic: Topic) -> str:
    """Dead letters of one consumer group and one source: failing is a property of the consumer."""
    return f"dlq.{group}.{topic.name}"


def read_pools(text: str) -> tuple[str, ...]:
    """`main,otp` as names. Raises ValueError."""
    pools = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if wrong := [name for name in pools if not _POOL.fullmatch(name)]:
        raise ValueError(f"{_POOLS_SETTING}: {wrong[0]!r} is no pool: 1 to 32 of a-z, 0-9 and hyphens, as in main,otp")
    return pools


def read_partitions(text: str) -> int:
    """How many partitions a stream has. Raises ValueError."""
    if not (text.isdecimal() and 1 <= int(text) <= _MOST_PARTITIONS):
        raise ValueError(f"{_PARTITIONS_SETTING}: {text!r} is no number from 1 to {_MOST_PARTITIONS}")
    return int(text)


def load(path: Path, pools: Sequence[str] = (), partitions: int = 12) -> Mapping[str, Topic]:
    """Read a topics file; what has `{pool}` in its entry stands for a topic of each pool. `partitions`: of keyed streams.

    Raises pydantic.ValidationError naming the entry's fault.
    """
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    found: dict[str, Topic] = {}
    for entry, fields in raw["topics"].items():
        for pool in pools if _OF_POOL in entry else [""]:
            ours = {name: _of_pool(value, pool) for name, value in {"entry": entry, **fields}.items()}
            if ours["partitions"] == _KEYED:
                ours["partitions"] = partitions
            found[ours["entry"]] = Topic(**{**raw["defaults"], **ours})
    return found


def _of_pool(value: Any, pool: str) -> Any:
    match value:
        case str():
            return value.replace(_OF_POOL, pool)
        case list():
            return [_of_pool(item, pool) for item in value]
        case _:
            return value


# Which topics there are, and how wide, every process and the provisioner must see alike: the settings read at import.
POOLS = read_pools(os.environ.get(_POOLS_SETTING, "main"))
PARTITIONS = read_partitions(os.environ.get(_PARTITIONS_SETTING, "12"))
TOPICS: Mapping[str, Topic] = load(Path(__file__).with_name("topics.yaml"), POOLS, PARTITIONS)


@cache
def message_inputs(lane: Lane) -> Topic:
    return TOPICS[f"message-inputs.{lane}"]


@cache
def message_state(lane: Lane) -> Topic:
    return TOPICS[f"message-state.{lane}"]


@cache
def deliveries(pool: str, lane: Lane) -> Topic:
    return TOPICS[f"deliveries.{pool}.{lane}"]
