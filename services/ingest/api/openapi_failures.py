"""The bodies of alerts and dead letters as JSON Schema; see `openapi_shapes`."""

from typing import get_args

from schemas.alerts import AlertStatus
from schemas.mail import Category, Channel, Environment, Priority
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
from services.ingest.domain import alerts, paths, redrives

_AT, _MESSAGE_ID = "2026-09-21T14:13:20.123Z", "msg_06GC8M3CFE20EBBH2S1BE9HPNB0SXKY1"
_NUMBER: Schema = {"type": "number", "minimum": 0}
CATEGORY: Schema = {"type": "string", "enum": list(get_args(Category))}


def _enum(words: object) -> Schema:
    return {"type": "string", "enum": list(get_args(words))}


_FILTERS: dict[str, Schema] = {
    "tag": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
    "template": {"type": "string", "minLength": 1, "maxLength": alerts.MAX_TEMPLATE},
    "recipient_domain": STRING,
    "provider_group": STRING,
    "channel": _enum(Channel),
    "path": STRING,
    "priority": _enum(Priority),
    "environment": _enum(Environment) | {"default": "live"},
}
_CONDITION: Schema = {
    "description": "One of `above`, `below` and `times`: that many times what the time before the window had.",
    "anyOf": [
        given({"above": _NUMBER}, "above"),
        given({"below": _NUMBER}, "below"),
        given(
            {
                "times": {"type": "number", "minimum": 1, "maximum": alerts.MAX_TIMES},
                "baseline_seconds": {
                    "type": "integer",
                    "minimum": alerts.SHORTEST_WINDOW,
                    "maximum": alerts.LONGEST_BASELINE,
                    "default": alerts.DEFAULT_BASELINE,
                },
            },
            "times",
        ),
    ],
}
_ALERT = {
    "name": {"type": "string", "minLength": 1, "maxLength": paths.MAX_NAME},
    "measure": {"type": "string", "enum": list(alerts.MEASURES)},
    "filters": given(_FILTERS, description="All that is given must fit."),
    "window_seconds": {
        "type": "integer",
        "minimum": alerts.SHORTEST_WINDOW,
        "maximum": alerts.LONGEST_WINDOW,
        "default": alerts.DEFAULT_WINDOW,
    },
    "condition": _CONDITION,
    "minimum": {
        "type": "integer",
        "minimum": 0,
        "maximum": alerts.MAX_MINIMUM,
        "description": f"Messages in the window below which nothing is concluded. Default: {alerts.DEFAULT_MINIMUM};"
        " none where the condition names a number of messages.",
    },
    "enabled": BOOLEAN | {"default": True},
}
_ALERT_EXAMPLE = {
    "name": "security mail, five times as much",
    "measure": "queued",
    "filters": {"tag": "security-alert"},
    "window_seconds": 300,
    "condition": {"times": 5, "baseline_seconds": 3600},
    "minimum": 20,
}
_LETTER: dict[str, Schema] = {
    "message_id": STRING,
    "recipient": STRING,
    "category": or_null(CATEGORY) | {"description": "Of the last attempt; null: there was none."},
    "code": or_null(INTEGER),
    "enhanced_code": or_null(STRING),
    "reply": or_null(STRING),
    "path": or_null(STRING),
    "mx_host": or_null(STRING),
    "template": or_null(STRING),
    "tags": array(STRING),
    "attempts": INTEGER,
    "created_at": TIME,
    "failed_at": TIME,
    "cause": STRING
    | {"description": "`refused`, `last_attempt`, `max_age`, `feedback` (a bounce that came later) or `expired`."},
    "redriven_as": array(STRING),
}
_OF_LETTERS = {
    "category": CATEGORY,
    "recipient_domain": STRING,
    "template": STRING,
    "tag": STRING,
    "path": STRING,
    "since": TIME,
    "until": TIME,
    "redriven": BOOLEAN | {"default": False},
}

FAILURE_SHAPES: dict[str, Schema] = {
    "Nothing": given({}, description="There is nothing to say."),
    "NewAlert": given(_ALERT, "name", "measure", "condition", examples=[_ALERT_EXAMPLE]),
    "AlertChange": given(_ALERT, examples=[{"enabled": False}]),
    "Alert": shown(
        {
            "id": STRING,
            "project_id": STRING,
            "version": INTEGER,
            "created_at": TIME,
            "updated_at": TIME,
            "updated_by": STRING,
            **_ALERT,
            "filters": shown({name: or_null(schema) for name, schema in _FILTERS.items()}),
            "condition": {"type": "object"},
            "state": _enum(AlertStatus)
            | {"description": "`unknown`: not looked at yet, switched off, or too few messages to say."},
            "since": or_null(TIME),
            "value": or_null({"type": "number"}),
            "evaluated_at": or_null(TIME),
        },
    ),
    "DeadLetter": shown(
        _LETTER,
        examples=[
            {
                "message_id": _MESSAGE_ID,
                "recipient": "ada@example.org",
                "category": "mailbox_full",
                "code": 452,
                "enhanced_code": "4.2.2",
                "reply": "452 4.2.2 over quota",
                "path": "mx:main",
                "mx_host": "mx.example.org",
                "template": None,
                "tags": ["otp"],
                "attempts": 6,
                "created_at": _AT,
                "failed_at": _AT,
                "cause": "last_attempt",
                "redriven_as": [],
            }
        ],
    ),
    "DeadLetterGroup": shown(
        {
            "cause": shown(
                {"category": or_null(CATEGORY), "enhanced_code": or_null(STRING), "recipient_domain": STRING}
            ),
            "messages": INTEGER,
            "first_at": TIME,
            "last_at": TIME,
            "sample": shown({"message_id": STRING, "reply": or_null(STRING)}),
        }
    ),
    "Redrive": given(
        {
            "message_ids": array(STRING, redrives.MAX_REDRIVES) | {"minItems": 1},
            "filters": given(_OF_LETTERS),
            "limit": {"type": "integer", "minimum": 1, "maximum": redrives.MAX_REDRIVES}
            | {"default": redrives.MAX_REDRIVES},
        },
        description="`message_ids`, or `filters`: then those that have not been re-driven yet, the newest first.",
        examples=[
            {"message_ids": [_MESSAGE_ID]},
            {"filters": {"category": "ip_blocked", "since": _AT}, "limit": 500},
        ],
    ),
    "Redriven": {"allOf": [ref("Accepted"), shown({"redrive_of": STRING})]},
    "RedriveAnswer": shown({"object": {"const": "list"}, "batch_id": STRING, "data": array(ref("RedriveItem"))}),
    "RedriveItem": {"allOf": [ref("BatchItem"), shown({"redrive_of": STRING})]},
}
