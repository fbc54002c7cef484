"""Explanations of a message and of a route as JSON Schema; see `openapi_shapes`."""

from typing import get_args

from schemas.mail import Priority, WaitReason
from schemas.routing import ScheduleFrom, Term
from services.ingest.api.openapi_shapes import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    STATUS,
    STRING,
    TIME,
    Schema,
    array,
    or_null,
    ref,
    shown,
)

KINDS = (
    "acceptance",
    "template",
    "suppression",
    "route",
    "path",
    "policy",
    "pacing",
    "attempt",
    "retry",
    "command",
    "feedback",
    "end",
)
EXPLAINED_QUERY: dict[str, Schema] = {
    "as_of": TIME | {"description": "As it stood at that time."},
    "tier": {"type": "string", "enum": list(get_args(Priority)), "default": "normal"},
}
_DECISION: Schema = {
    "at": TIME,
    "kind": {"type": "string", "enum": list(KINDS)},
    "event_id": STRING | {"description": "The event that shows it."},
    "rule": or_null(STRING) | {"description": "What decided: a route, a policy, a template, a rule for replies."},
    "version": or_null(INTEGER),
    "text": STRING,
    "details": ANYTHING,
}
_PATH: Schema = {
    "path": STRING,
    "weight": or_null(INTEGER) | {"description": "Null: a fallback."},
    "healthy": BOOLEAN,
    "share": {"type": "number", "minimum": 0, "maximum": 1, "description": "Of such mail, now."},
    "because": STRING,
}
_POLICY: Schema = {
    "retry_schedule": or_null(array(STRING)) | {"description": "Null: the installation's setting."},
    "schedule_from": {"type": "string", "enum": list(get_args(ScheduleFrom))},
    "max_age": or_null(STRING),
    "tls": or_null(STRING),
    "decided_by": array(
        shown(
            {"term": {"type": "string", "enum": list(get_args(Term))}, "policy_id": STRING, "version": INTEGER},
        )
    ),
}
_REASON: Schema = {"type": "string", "enum": list(get_args(WaitReason))}
EXPLAINED_SHAPES: dict[str, Schema] = {
    "Explanation": shown(
        {
            "object": {"const": "explanation"},
            "message_id": STRING,
            "status": STATUS,
            "waiting": or_null(shown({"reason": _REASON, "next_attempt_at": or_null(TIME), "text": STRING})),
            "decisions": array(ref("Decision")),
        },
        description="`next_attempt_at`: when it goes, or since when it might; null where it waits for a person.",
    ),
    "Decision": shown(_DECISION),
    "RouteExplanation": shown(
        {
            "object": {"const": "route_explanation"},
            "destination": STRING,
            "provider_group": STRING,
            "rule": or_null(shown({"id": STRING, "name": STRING, "version": INTEGER})),
            "considered": array(shown({"id": STRING, "name": STRING, "matched": BOOLEAN, "because": STRING})),
            "paths": array(shown(_PATH)),
            "chosen_first": or_null(STRING) | {"description": "Where most of it goes; null where it waits."},
            "waits": or_null(shown({"reason": _REASON, "for": array(STRING)})),
            "policy": shown(_POLICY),
        }
    ),
}
