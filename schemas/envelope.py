"""The envelope every record wears on every topic: a CloudEvent 1.0 in structured JSON mode.

Values in, values out: this module must never do I/O, read a clock or know a topic name.
Readers are open (unknown fields are ignored), so a producer may ship before its subscribers.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

CONTENT_TYPE = "application/cloudevents+json"

# How `encode` begins a record: its type is known without parsing, and the rest is validated as it is read, at two thirds
# of the cost. The type's characters are those of names, so that what it says needs no unescaping.
_HEAD = re.compile(rb'\{"specversion":"1\.0","id":"[^"\\]*","source":"[^"\\]*","type":"([a-z0-9_.-]+)",')

# RFC 3339, UTC, milliseconds, `Z`: sorts as text and is written back byte for byte as it was read.
Timestamp = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]


class Payload(BaseModel):
    """What one record type says, beneath the envelope. `TYPE` is its name on the wire, everywhere."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    TYPE: ClassVar[str]


P = TypeVar("P", bound=Payload)
P_co = TypeVar("P_co", bound=Payload, covariant=True)


class Envelope(BaseModel, Generic[P_co]):
    """CloudEvents attributes plus `projectid` and, for the events of one message, the dense `sequence`."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: Timestamp
    datacontenttype: Literal["application/json"] = "application/json"
    dataschema: str
    project_id: Annotated[str, Field(alias="projectid")]
    sequence: int | None = None
    data: P_co


class MalformedRecord(ValueError):
    """The bytes are not a record of this topic: not JSON, no known type, or fields that do not fit it."""


def seal(  # one place builds envelopes, so that `type` and `dataschema` can not disagree with `data`
    data: P, *, record_id: str, source: str, subject: str, time_ms: int, project_id: str, sequence: int | None = None
) -> Envelope[P]:
    """Wrap `data`. `record_id` becomes `id`; `source` is the service's name; `time_ms` is Unix time in milliseconds."""
    return _SEALED(
        id=record_id,
        source=f"/sendarix/{source}",
        type=data.TYPE,
        subject=subject,
        time=to_timestamp(time_ms),
        dataschema=f"urn:sendarix:schema:{data.TYPE}:v1",
        project_id=project_id,
        sequence=sequence,
        data=data,
    )


def encode(envelope: Envelope[Payload]) -> bytes:
    """The record's value as it goes to Kafka, to a webhook and to the API: the same bytes everywhere."""
    return envelope.__pydantic_serializer__.to_json(envelope, by_alias=True)


def decode(value: bytes | None, types: Mapping[str, type[P]]) -> Envelope[P]:
    """Read one record whose `type` is a key of `types`. Raises `MalformedRecord`, and nothing else."""
    if value is None:
        raise MalformedRecord("null value where a record was expected")
    head = _HEAD.match(value)
    payload = types.get(head[1].decode()) if head else None
    if payload is not None:
        with suppress(ValidationError):  # what is wrong with it is said below
            read = _envelope_of(payload).model_validate_json(value)
            if read.type == payload.TYPE:
                return read
    return _decode_any(value, types)


def _decode_any(value: bytes, types: Mapping[str, type[P]]) -> Envelope[P]:
    """A record whose attributes stand in any order, or one that is none."""
    try:
        raw = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise MalformedRecord(f"not JSON: {error}") from error
    name = raw.get("type") if isinstance(raw, dict) else None
    payload = types.get(name) if isinstance(name, str) else None
    if payload is None:
        raise MalformedRecord(f"unknown record type {name!r:.80}")
    try:
        return _envelope_of(payload).model_validate(raw)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, e["loc"])) + ": " + e["type"] for e in error.errors()[:5])
        raise MalformedRecord(f"{name} does not fit its schema: {fields}") from error


_SEALED = Envelope[Any]  # looked up once: the look-up costs a quarter of a `seal`
_ENVELOPES: dict[type[Payload], type[Envelope[Any]]] = {}


def _envelope_of(payload: type[P]) -> type[Envelope[P]]:
    """`Envelope[payload]`, built once per type: pydantic's own look-up costs more than the validation."""
    envelope = _ENVELOPES.get(payload)
    if envelope is None:
        envelope = _ENVELOPES[payload] = Envelope[payload]  # type: ignore[valid-type]
    return envelope


def by_type(*payloads: type[P]) -> Mapping[str, type[P]]:
    """The `types` argument of `decode` for these record types."""
    return {payload.TYPE: payload for payload in payloads}


def to_timestamp(ms: int) -> str:
    """Unix milliseconds as RFC 3339 UTC with milliseconds."""
    return f"{_to_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(maxsize=256)  # records of one moment share their second, and its formatting is the slow part
def _to_second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def to_ms(timestamp: str) -> int:
    """The inverse of `to_timestamp`; takes any RFC 3339 offset. Raises ValueError on anything else."""
    moment = datetime.fromisoformat(timestamp)
    if moment.tzinfo is None:
        raise ValueError("a time needs an offset, or Z")
    return round(moment.timestamp() * 1000)
