"""The numbers of `/v1/metrics` as JSON Schema; see `openapi_shapes`."""

from typing import get_args

from schemas.mail import Category, Channel, Environment, Priority
from services.ingest.api.openapi_shapes import INTEGER, STRING, TIME, Schema, array, or_null, ref, shown

DIMENSIONS = (
    "recipient_domain",
    "provider_group",
    "tag",
    "template",
    "channel",
    "path",
    "error_category",
    "priority",
    "environment",
)
_INTERVAL: Schema = {"type": "string", "enum": ["minute", "hour", "day", "total"], "default": "hour"}
METRICS_QUERY: dict[str, Schema] = {
    "interval": _INTERVAL,
    "time_zone": {"type": "string", "default": "UTC", "description": "As in the time zone database: `Europe/Berlin`."},
    "group_by": {"type": "string", "description": f"At most two, with a comma, of {', '.join(DIMENSIONS)}."},
    "channel": {"type": "string", "enum": list(get_args(Channel))},
    "error_category": {"type": "string", "enum": list(get_args(Category))},
    "priority": {"type": "string", "enum": list(get_args(Priority))},
    "environment": {"type": "string", "enum": list(get_args(Environment))},
}
_COUNTS = (
    "queued",
    "accepted",
    "delivered",
    "deferred",
    "bounced",
    "suppressed",
    "cancelled",
    "expired",
    "unknown",
    "complained",
    "unsubscribed",
)
_RATES = ("delivery_rate", "bounce_rate", "complaint_rate", "deferral_rate")
_LATENCIES = ("first_attempt_ms", "delivered_ms")
_PERCENTILES = {"p50": 310, "p95": 900, "p99": 2_100}

METRICS_SHAPES: dict[str, Schema] = {
    "Metrics": shown(
        {
            "object": {"const": "metrics"},
            "since": TIME,
            "until": TIME,
            "interval": _INTERVAL,
            "time_zone": STRING,
            "group_by": array(STRING),
            "behind_ms": INTEGER | {"description": "How far these numbers may be behind the log."},
            "data": array(ref("MetricsRow")),
        }
    ),
    "MetricsRow": shown(
        {
            "time": TIME | {"description": "When the interval begins."},
            "group": {"type": "object", "additionalProperties": or_null(STRING)},
            **dict.fromkeys(_COUNTS, INTEGER | {"description": "Messages to which that happened."}),
            **dict.fromkeys(_RATES, or_null({"type": "number"})),
            **dict.fromkeys(_LATENCIES, ref("Percentiles")),
        },
        examples=[
            {
                "time": "2026-01-31T08:00:00.000Z",
                "group": {"tag": "otp"},
                **dict.fromkeys(_COUNTS, 1),
                **dict.fromkeys(_RATES, 0.5),
                **dict.fromkeys(_LATENCIES, _PERCENTILES),
            }
        ],
    ),
    "Percentiles": shown(dict.fromkeys(_PERCENTILES, or_null(INTEGER))),
}
