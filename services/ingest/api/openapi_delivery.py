"""The bodies of routes, upstreams, pools, policies and queues as JSON Schema; see `openapi_shapes`."""

from typing import get_args

from schemas.mail import Priority, Tls, WaitReason
from schemas.topics import POOLS
from services.ingest.api.openapi_shapes import (
    BOOLEAN,
    INTEGER,
    STRING,
    TIME,
    Schema,
    array,
    given,
    or_null,
    ref,
    shown,
)
from services.ingest.domain import durations, paths, policies, queues, routes, upstreams
from services.ingest.domain.fields import MAX_ENTRIES

_ROUTE_ID, _UPSTREAM_ID = "rte_06GC8M3CFE0000000000000001", "ups_06GC8M3CFE0000000000000001"
_POLICY_ID, _KEY_ID = "pol_06GC8M3CFE0000000000000001", "key_06GC8M3CFE0000000000000001"
_PROJECT_ID, _AT = "prj_06GC8M3CFE0000000000000001", "2026-09-21T14:13:20.123Z"

_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": paths.MAX_NAME}
_TLS: Schema = {
    "type": "string",
    "enum": list(get_args(Tls)),
    "description": "`required`: encrypted and verified, or not at all; `opportunistic`: encrypted where it is offered.",
}
_PATH: Schema = {
    "type": "string",
    "description": "`mx:<pool>`, an upstream's id, or `upstream`: the senders' smarthost.",
}
KIND: Schema = {"type": "string", "enum": list(queues.KINDS), "default": "destination"}
REASON: Schema = {"type": "string", "enum": list(get_args(WaitReason))}


def _count(most: int) -> Schema:
    return {"type": "integer", "minimum": 1, "maximum": most}


def _rate(most: float) -> Schema:
    return {"type": "number", "minimum": 0.001, "maximum": most, "description": "Mails per second."}


_DOMAINS = array(STRING, MAX_ENTRIES) | {"description": "`example.org`, or `*.example.org` for what is below it."}
_GROUPS = array(STRING, MAX_ENTRIES) | {"description": "Providers: `google`, `outlook`, …"}
_LABELS = array({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}, MAX_ENTRIES)
_FRAME = {
    "id": STRING,
    "project_id": or_null(STRING) | {"description": "Null: of the whole installation."},
    "name": STRING,
    "version": INTEGER,
    "created_at": TIME,
    "updated_at": TIME,
    "updated_by": STRING,
    "undoable": BOOLEAN | {"description": "Whether `undo` has a version to go back to."},
}
_FRAME_EXAMPLE = {
    "project_id": _PROJECT_ID,
    "version": 1,
    "created_at": _AT,
    "updated_at": _AT,
    "updated_by": _KEY_ID,
    "undoable": False,
}

_MATCH = {
    "recipient_domains": _DOMAINS,
    "provider_groups": _GROUPS,
    "from_domains": _DOMAINS,
    "tags": _LABELS,
    "priorities": array({"type": "string", "enum": list(get_args(Priority))}),
}
_WEIGHTED = given({"path": _PATH, "weight": _count(routes.MAX_WEIGHT)}, "path")
_ROUTE = {
    "name": _NAME,
    "position": {"type": "integer", "minimum": 0, "maximum": routes.MAX_POSITION},
    "match": given(
        _MATCH, description="All that is given must fit, one entry of each is enough; nothing given: all mail."
    ),
    "paths": array({"anyOf": [_PATH, _WEIGHTED]}, routes.MAX_PATHS) | {"minItems": 1},
    "fallback": array(_PATH, routes.MAX_PATHS) | {"description": "In order, for when none of `paths` is healthy."},
    "tls": _TLS,
}
_ROUTE_EXAMPLE = {
    "name": "codes",
    "position": 10,
    "match": {
        "recipient_domains": [],
        "provider_groups": ["google"],
        "from_domains": [],
        "tags": ["otp"],
        "priorities": [],
    },
    "paths": [{"path": "mx:main", "weight": 3}, {"path": _UPSTREAM_ID, "weight": 1}],
    "fallback": ["upstream"],
    "tls": "required",
}
_UPSTREAM = {
    "name": _NAME,
    "preset": {"type": "string", "enum": sorted(upstreams.PRESETS)},
    "host": {"type": "string", "minLength": 1},
    "port": _count(upstreams.MAX_PORT),
    "tls": _TLS,
    "username": {"type": "string", "minLength": 1, "maxLength": upstreams.MAX_CREDENTIAL},
    "password": {
        "type": "string",
        "minLength": 1,
        "maxLength": upstreams.MAX_CREDENTIAL,
        "writeOnly": True,
        "description": "Sealed when it comes in, never shown again.",
    },
    "pool": {"type": "string", "enum": sorted(POOLS), "default": upstreams.NEW.pool},
    "connections": _count(upstreams.MAX_CONNECTIONS) | {"default": upstreams.NEW.connections},
    "messages_per_connection": _count(upstreams.MAX_MESSAGES) | {"default": upstreams.NEW.messages_per_connection},
    "per_second": _rate(upstreams.MAX_PER_SECOND),
}
_UPSTREAM_EXAMPLE = {
    "name": "SendGrid",
    "preset": "sendgrid",
    "host": "smtp.sendgrid.net",
    "port": 587,
    "tls": "required",
    "username": "apikey",
    "password_set": True,
    "pool": "main",
    "connections": 20,
    "messages_per_connection": 1000,
    "per_second": None,
}
_POLICY = {
    "name": _NAME,
    "provider_groups": _GROUPS,
    "recipient_domains": _DOMAINS,
    "tags": _LABELS,
    "retry_schedule": array(STRING, durations.MAX_RETRIES)
    | {"minItems": 1, "description": "The waits between attempts: `30s`, `5m`, `2h`."},
    "max_age": STRING | {"description": "From acceptance (`10m`, `48h`); then it bounces."},
    "tls": _TLS,
    "connections": _count(policies.MAX_CONNECTIONS)
    | {"description": "Per source address and provider; of the installation's policies only, as the next two."},
    "messages_per_connection": _count(policies.MAX_MESSAGES),
    "per_second": _rate(policies.MAX_PER_SECOND),
}
_POLICY_EXAMPLE = {
    "name": "codes go soon or never",
    "provider_groups": [],
    "recipient_domains": [],
    "tags": ["otp"],
    "retry_schedule": ["5s", "15s", "1m"],
    "max_age": "10m",
    "tls": "required",
    "connections": None,
    "messages_per_connection": None,
    "per_second": None,
}
_PAUSE = {
    "project_id": or_null(STRING),
    "kind": STRING,
    "name": STRING,
    "reason": or_null(STRING),
    "by": STRING,
    "paused_at": TIME,
}
_RATIO = or_null({"type": "number"})
_REPUTATION = {
    "path": STRING,
    "source_address": or_null(STRING),
    "provider_group": STRING,
    "sample": INTEGER | {"description": "Mails in the window; ratios are null for fewer than 100."},
    "delivered_ratio": _RATIO,
    "deferred_ratio": _RATIO,
    "bounced_ratio": _RATIO,
    "blocked_ratio": _RATIO,
    "complaint_ratio": _RATIO,
    "window": STRING,
    "taken_at": TIME,
    "connections": INTEGER,
    "connection_limit": INTEGER,
    "closed_until": or_null(TIME),
    "evidence": or_null(STRING) | {"description": "The reply that slowed it down; to admin keys only."},
}


DELIVERY_SHAPES: dict[str, Schema] = {
    "NewRoute": given(
        _ROUTE, "name", "paths", examples=[_ROUTE_EXAMPLE, {"name": "all by the relay", "paths": [_UPSTREAM_ID]}]
    ),
    "RouteChange": given(_ROUTE, examples=[{"position": 5}]),
    "Route": shown(
        {
            **_FRAME,
            "position": INTEGER,
            "match": shown(_MATCH),
            "paths": array(shown({"path": STRING, "weight": INTEGER})),
            "fallback": array(STRING),
            "tls": or_null(_TLS),
        },
        examples=[{"id": _ROUTE_ID, **_FRAME_EXAMPLE, **_ROUTE_EXAMPLE}],
    ),
    "NewUpstream": given(
        _UPSTREAM,
        description="A `preset`, or a `host`; what the preset says can be said otherwise.",
        examples=[
            {"name": "SendGrid", "preset": "sendgrid", "password": "SG.…"},
            {"name": "relay", "host": "smtp.example.net", "username": "shop", "password": "…", "per_second": 5},
        ],
    ),
    "UpstreamChange": given(_UPSTREAM, examples=[{"connections": 5}]),
    "Upstream": shown(
        {
            **_FRAME,
            "preset": or_null(STRING),
            "host": STRING,
            "port": INTEGER,
            "tls": _TLS,
            "username": or_null(STRING),
            "password_set": BOOLEAN,
            "pool": STRING,
            "connections": INTEGER,
            "messages_per_connection": INTEGER,
            "per_second": or_null({"type": "number"}),
        },
        examples=[{"id": _UPSTREAM_ID, **_FRAME_EXAMPLE, **_UPSTREAM_EXAMPLE}],
    ),
    "NewPolicy": given(_POLICY, "name", examples=[_POLICY_EXAMPLE]),
    "PolicyChange": given(_POLICY, examples=[{"max_age": "15m"}]),
    "Policy": shown(
        {
            **_FRAME,
            "provider_groups": array(STRING),
            "recipient_domains": array(STRING),
            "tags": array(STRING),
            "retry_schedule": or_null(array(STRING)),
            "max_age": or_null(STRING),
            "tls": or_null(_TLS),
            "connections": or_null(INTEGER),
            "messages_per_connection": or_null(INTEGER),
            "per_second": or_null({"type": "number"}),
        },
        examples=[{"id": _POLICY_ID, **_FRAME_EXAMPLE, **_POLICY_EXAMPLE}],
    ),
    "Pause": given(
        {"kind": KIND, "reason": {"type": "string", "maxLength": queues.MAX_REASON}},
        examples=[{"reason": "asked by their postmaster"}, {"kind": "provider_group", "reason": "blocked"}],
    ),
    "QueueOrder": given({"kind": KIND}, examples=[{"kind": "path"}]),
    "Queue": shown(
        {
            "kind": KIND,
            "name": STRING,
            "provider_group": or_null(STRING),
            "waiting": or_null(INTEGER) | {"description": "Of all projects. Null: of a path nobody counts it."},
            "in_flight": or_null(INTEGER),
            "oldest_at": or_null(TIME) | {"description": "When the oldest mail that waits was accepted."},
            "next_attempt_at": or_null(TIME),
            "reason": or_null(REASON) | {"description": "What the oldest waits for."},
            "paused": BOOLEAN,
            "pauses": array(ref("QueuePause")),
        },
        examples=[
            {
                "kind": "destination",
                "name": "example.org",
                "provider_group": "google",
                "waiting": 3,
                "in_flight": 1,
                "oldest_at": _AT,
                "next_attempt_at": None,
                "reason": "destination_paused",
                "paused": True,
                "pauses": [
                    {
                        "project_id": _PROJECT_ID,
                        "kind": "destination",
                        "name": "example.org",
                        "reason": "asked by their postmaster",
                        "by": _KEY_ID,
                        "paused_at": _AT,
                    }
                ],
            }
        ],
    ),
    "QueuePause": shown(_PAUSE),
    "Pool": shown(
        {
            "id": STRING,
            "path": STRING,
            "senders": array(shown({"instance": STRING, "seen_at": TIME, "paths": array(STRING)})),
            "reputation": array(shown(_REPUTATION)),
        },
        examples=[
            {
                "id": "main",
                "path": "mx:main",
                "senders": [{"instance": "sender-1", "seen_at": _AT, "paths": ["mx:main", "upstream"]}],
                "reputation": [
                    {
                        "path": "mx:main",
                        "source_address": "192.0.2.10",
                        "provider_group": "google",
                        "sample": 971,
                        "delivered_ratio": 0.9681,
                        "deferred_ratio": 0.0319,
                        "bounced_ratio": 0.0,
                        "blocked_ratio": 0.0,
                        "complaint_ratio": 0.0,
                        "window": "300s",
                        "taken_at": _AT,
                        "connections": 2,
                        "connection_limit": 2,
                        "closed_until": _AT,
                        "evidence": None,
                    }
                ],
            }
        ],
    ),
}
