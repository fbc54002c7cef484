"""The bodies of the API as JSON Schema, for its OpenAPI document: what the readers in domain/ take, and what is shown.

Limits come from the readers; a test runs the document against the service. It must never be what requests are judged by.
"""

from typing import Any, get_args

from schemas.events import SuppressionOrigin, SuppressionReason
from schemas.mail import Channel, Environment, OnUnknown, Priority, Status
from schemas.tables import DisabledReason, RecordStatus
from schemas.webhooks import ReplayFailure, ReplayStatus
from services.ingest.domain import (
    attachments,
    batch,
    durations,
    endpoints,
    fields,
    key_requests,
    projects,
    recipients,
    submission,
)
from services.ingest.domain.access import ONLY_OF_ADMINS, SCOPES

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}
ANYTHING: Schema = {"type": "object"}
TIME: Schema = {"type": "string", "format": "date-time", "description": "RFC 3339"}
ADDRESS: Schema = {"type": "string", "description": "`a@b` or `Name <a@b>`", "maxLength": 640}
TAGS: Schema = {
    "type": "array",
    "maxItems": fields.MAX_TAGS,
    "items": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
}
STATUS: Schema = {"type": "string", "enum": list(get_args(Status))}
ROLE: Schema = {"type": "string", "enum": list(get_args(recipients.Role))}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def given(properties: Schema, *required: str, **more: Any) -> Schema:
    """A body that is sent: a member that is not known is a fault. Null is the same as absent."""
    optional = {name: schema if name in required else or_null(schema) for name, schema in properties.items()}
    return _object(optional, required) | {"additionalProperties": False} | more


def shown(properties: Schema, *optional: str, **more: Any) -> Schema:
    """A body that is answered: open, for members may be added."""
    return _object(properties, tuple(name for name in properties if name not in optional)) | more


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def array(items: Schema, most: int | None = None) -> Schema:
    return {"type": "array", "items": items} | ({} if most is None else {"maxItems": most})


def page_of(items: Schema) -> Schema:
    """The list shape of the API."""
    return shown(
        {"object": {"const": "list"}, "data": array(items), "has_more": BOOLEAN, "next_cursor": or_null(STRING)}
    )


def _object(properties: Schema, required: tuple[str, ...]) -> Schema:
    return {"type": "object", "properties": properties} | ({"required": list(required)} if required else {})


def _one_or_many(schema: Schema, most: int) -> Schema:
    return {"anyOf": [schema, array(schema, most) | {"minItems": 1}]}


_MAIL = {
    "recipient": _one_or_many(ADDRESS, recipients.MAX_RECIPIENTS),
    "to": _one_or_many(ADDRESS, recipients.MAX_RECIPIENTS) | {"description": "Another name of `recipient`."},
    "from": ADDRESS | {"description": "Default: the template's, or the project's."},
    "subject": {"type": "string", "maxLength": 998},
    "text": STRING,
    "html": STRING,
    "cc": _one_or_many(ADDRESS, recipients.MAX_RECIPIENTS),
    "bcc": _one_or_many(ADDRESS, recipients.MAX_RECIPIENTS),
    "reply_to": _one_or_many(ADDRESS, recipients.MAX_REPLY_TO),
    "headers": {"type": "object", "maxProperties": 50, "additionalProperties": {"type": "string", "maxLength": 996}},
    "metadata": {
        "type": "object",
        "maxProperties": submission.MAX_METADATA,
        "propertyNames": {"minLength": 1, "maxLength": submission.MAX_METADATA_KEY},
        "additionalProperties": {"type": "string", "maxLength": submission.MAX_METADATA_VALUE},
    },
    "tags": TAGS,
    "priority": {"type": "string", "enum": list(get_args(Priority)), "default": "normal"},
    "scheduled_time": TIME | {"description": "Not before; at most a year ahead."},
    "deliver_before": TIME | {"description": "Not after: then it expires."},
    "on_unknown": {"type": "string", "enum": list(get_args(OnUnknown)), "default": "resend"},
    "attachments": array(ref("Attachment"), attachments.MAX_ATTACHMENTS),
    "template": {"type": "string", "description": "A name or an id, instead of text and html."},
    "template_data": ANYTHING,
}
_TEMPLATE_CONTENT = {"subject": STRING, "text": STRING, "html": STRING, "from": ADDRESS}
_TEMPLATE = {
    "id": STRING,
    "name": STRING,
    "published_version": or_null(INTEGER),
    "latest_version": INTEGER,
    "created_at": TIME,
    "updated_at": TIME,
}
_VERSION = {"version": INTEGER, **{name: or_null(schema) for name, schema in _TEMPLATE_CONTENT.items()}}
_SUPPRESSION = {
    "id": STRING,
    "recipient": STRING,
    "reason": {"type": "string", "enum": list(get_args(SuppressionReason))},
    "origin": {"type": "string", "enum": list(get_args(SuppressionOrigin))},
    "tag": or_null(STRING),
    "source_event_id": or_null(STRING),
    "created_at": TIME,
}
_ENDPOINT = {
    "id": STRING,
    "url": STRING,
    "events": array(STRING),
    "tags": array(STRING),
    "description": or_null(STRING),
    "disabled": BOOLEAN,
    "disabled_at": or_null(TIME),
    "disabled_reason": or_null({"type": "string", "enum": list(get_args(DisabledReason))}),
    "rate_per_second": or_null({"type": "number"}),
    "old_secrets_until": array(TIME),
    "created_at": TIME,
}
_EVENT_TYPES = array({"type": "string", "enum": [*sorted(endpoints.EVENT_TYPES | endpoints.FAMILIES), "*"]}) | {
    "minItems": 1
}
_ENDPOINT_GIVEN = {
    "url": STRING,
    "events": _EVENT_TYPES,
    "tags": TAGS,
    "description": {"type": "string", "maxLength": endpoints.MAX_DESCRIPTION},
    "disabled": BOOLEAN,
    "rate_per_second": or_null({"type": "number", "minimum": endpoints.SLOWEST, "maximum": endpoints.FASTEST}),
}
_KEY = {
    "id": STRING,
    "project_id": STRING,
    "name": STRING,
    "environment": {"type": "string", "enum": ["live", "test", "admin"]},
    "scopes": array(STRING),
    "from_domains": array(STRING),
    "networks": array(STRING),
    "created_at": TIME,
    "expires_at": or_null(TIME),
    "revoked_at": or_null(TIME),
    "last_used_at": or_null(TIME),
}
_PROJECT = {
    "name": {"type": "string", "minLength": 1, "maxLength": projects.MAX_NAME},
    "plan": {"type": "string", "enum": ["standard", "enterprise"]},
    "requests_per_minute": {"type": "integer", "minimum": 1, "maximum": projects.MAX_REQUESTS_PER_MINUTE},
    "from": ADDRESS,
    "unsubscribe_tags": {"anyOf": [{"const": projects.ALL_TAGS}, array(STRING, fields.MAX_TAGS)]},
    "retry_schedule": or_null(
        array(STRING, durations.MAX_RETRIES)
        | {"minItems": 1, "description": "The waits between attempts (`30s`, `5m`, `2h`); null: the service's own."}
    ),
}
_MESSAGE = {
    "message_id": STRING,
    "status": STATUS,
    "recipient": STRING,
    "from": or_null(STRING),
    "subject": or_null(STRING),
    "tags": array(STRING),
    "metadata": ANYTHING,
    "template": or_null(STRING),
    "channel": or_null({"type": "string", "enum": list(get_args(Channel))}),
    "path": or_null(STRING) | {"description": "It goes, or went last, by."},
    "environment": or_null({"type": "string", "enum": list(get_args(Environment))}),
    "created_at": TIME,
    "updated_at": TIME,
    "attempts": INTEGER,
    "next_attempt_at": or_null(TIME),
    "reason": or_null(STRING),
    "outcome": or_null(ref("Outcome")),
    "scheduled_time": or_null(TIME),
    "timeline": array(ref("Event")),
    "as_of": TIME | {"description": "Where that was asked for."},
    "pending": BOOLEAN | {"description": "Accepted, and not seen by the read side yet."},
}
_SANDBOX = {
    "message_id": STRING,
    "recipient": STRING,
    "from": STRING,
    "subject": STRING,
    "outcome": STRING,
    "attempt": INTEGER,
    "size": INTEGER,
    "truncated": BOOLEAN,
    "received_at": TIME,
}
_WORDS = ("queued", "delivered", "bounced", "suppressed", "cancelled", "expired")
_OPEN = ("scheduled", "waiting", "held", "in_flight")
_COUNTED = {**dict.fromkeys(_WORDS, INTEGER), "open": shown(dict.fromkeys(_OPEN, INTEGER))}
_COUNTS = {**dict.fromkeys(_WORDS, 0), "queued": 1, "delivered": 1, "open": dict.fromkeys(_OPEN, 0)}
_DELETED = {"object": STRING, "deleted": {"const": True}}
_SCOPE = {"type": "string", "enum": [*sorted(SCOPES - ONLY_OF_ADMINS), "*"]}
_FAULT = {"field": STRING, "code": STRING, "message": STRING, "line": INTEGER, "variable": STRING}
_CAUSE = shown({"code": STRING, "message": STRING, "hint": STRING})

SHAPES: dict[str, Schema] = {
    "Mail": given(
        _MAIL,
        description="One of recipient and to; a subject and text or html, or a template.",
        examples=[
            {
                "recipient": "ada@example.org",
                "subject": "Your verification code",
                "template": "otp-code",
                "template_data": {"code": "847291"},
                "headers": {"X-Idempotency-Key": "order-1234"},
            },
            {"recipient": ["Ada <ada@example.org>"], "subject": "Hello", "text": "Hi\n", "tags": ["welcome"]},
        ],
    ),
    "Attachment": given(
        {
            "filename": {"type": "string", "minLength": 1},
            "content": STRING | {"contentEncoding": "base64"},
            "content_type": STRING,
            "content_id": STRING | {"description": "Shown within the HTML, by `cid:`."},
        },
        "filename",
        "content",
    ),
    "Accepted": shown(
        {
            "message_id": STRING,
            "status": STATUS,
            "recipient": STRING,
            "created_at": TIME,
            "messages": array(shown({"message_id": STRING, "recipient": STRING, "role": ROLE})),
            "warnings": array(shown({"code": STRING, "message": STRING})),
        },
        "messages",
        "warnings",
        examples=[
            {
                "message_id": "msg_06GC8M3CFE20EBBH2S1BE9HPNB0SXKY1",
                "status": "queued",
                "recipient": "ada@example.org",
                "created_at": "2026-09-21T14:13:20.123Z",
            }
        ],
    ),
    "Batch": given(
        {"messages": array(ref("Mail"), batch.MAX_ITEMS) | {"minItems": 1}, "strict": BOOLEAN | {"default": False}},
        "messages",
        examples=[{"messages": [{"recipient": "ada@example.org", "subject": "Hello", "text": "Hi\n"}]}],
    ),
    "BatchAnswer": shown(
        {"object": {"const": "list"}, "batch_id": STRING, "data": array(ref("BatchItem"))},
    ),
    "BatchItem": shown(
        {
            "index": INTEGER,
            "message_id": STRING,
            "status": STATUS,
            "recipient": STRING,
            "messages": array(shown({"message_id": STRING, "recipient": STRING, "role": ROLE})),
            "warnings": array(shown({"code": STRING, "message": STRING})),
            "error": _CAUSE,
            "errors": array(ref("FieldError")),
        },
        "message_id",
        "status",
        "recipient",
        "messages",
        "warnings",
        "error",
        "errors",
        description="Accepted, with a `message_id`; or refused, with `error` and `errors`.",
    ),
    "Message": shown(_MESSAGE, *(name for name in _MESSAGE if name not in {"message_id", "status"})),
    "Outcome": shown(
        {"code": or_null(INTEGER), "enhanced_code": or_null(STRING), "category": STRING, "reply": or_null(STRING)}
    ),
    "Event": shown(
        {
            "specversion": {"const": "1.0"},
            "id": STRING,
            "source": STRING,
            "type": STRING,
            "subject": STRING,
            "time": TIME,
            "datacontenttype": STRING,
            "dataschema": STRING,
            "projectid": STRING,
            "sequence": or_null(INTEGER),
            "data": ANYTHING,
        },
        description="A CloudEvent, as it stands in Kafka; schemas/asyncapi.json has the shapes of `data`.",
    ),
    "Reschedule": given({"scheduled_time": TIME}, "scheduled_time"),
    "NewTemplate": given({"name": STRING, **_TEMPLATE_CONTENT, "publish": BOOLEAN}, "name"),
    "NewVersion": given({"name": STRING, **_TEMPLATE_CONTENT, "publish": BOOLEAN}),
    "TemplateVersionNumber": given({"version": {"type": "integer", "minimum": 1}}),
    "Preview": given({"template_data": ANYTHING, "version": {"type": "integer", "minimum": 1}}),
    "ToValidate": given({**_TEMPLATE_CONTENT, "version": {"type": "integer", "minimum": 1}}),
    "Template": shown(_TEMPLATE),
    "TemplateWithContent": shown({**_TEMPLATE, **_VERSION}),
    "Rendered": shown({"id": STRING, "name": STRING, **_VERSION}),
    "Validity": shown({"valid": BOOLEAN, "variables": array(STRING), "errors": array(ANYTHING)}),
    "NewSuppression": given(
        {"recipient": ADDRESS, "reason": {"type": "string", "enum": list(get_args(SuppressionReason))}, "tag": STRING},
        "recipient",
        examples=[{"recipient": "ada@example.org", "reason": "manual"}],
    ),
    "Suppression": shown(_SUPPRESSION),
    "SuppressionWithCauses": shown({**_SUPPRESSION, "causes": array(ref("Suppression"))}),
    "NewWebhook": given(
        _ENDPOINT_GIVEN, "url", "events", examples=[{"url": "https://example.org/hooks", "events": ["*"]}]
    ),
    "WebhookChange": given(_ENDPOINT_GIVEN, examples=[{"disabled": True}]),
    "WebhookTest": shown({"object": STRING, "webhook_id": STRING, "event_id": STRING}),
    "NewReplay": given(
        {
            "event_id": STRING | {"description": "The `webhook-id` of a call; else a window."},
            "since": TIME | {"description": "At most 14 days ago."},
            "until": TIME | {"description": "Exclusive; default: now."},
            "event_types": _EVENT_TYPES,
            "only_failed": BOOLEAN,
        },
        examples=[{"since": "2027-01-31T09:00:00Z", "only_failed": True}],
    ),
    "WebhookReplay": shown(
        {
            "object": STRING,
            "id": STRING,
            "endpoint_id": STRING,
            "status": {"type": "string", "enum": list(get_args(ReplayStatus))},
            "reason": or_null({"type": "string", "enum": list(get_args(ReplayFailure))})
            | {"description": "Why it failed."},
            "event_id": or_null(STRING),
            "since": or_null(TIME),
            "until": or_null(TIME),
            "event_types": array(STRING),
            "only_failed": BOOLEAN,
            "matched": INTEGER | {"description": "Events found that were asked for, failed or not."},
            "queued": INTEGER | {"description": "Of these, calls that are made once more."},
            "created_at": TIME,
            "finished_at": or_null(TIME),
        }
    ),
    "Webhook": shown(_ENDPOINT),
    "WebhookWithSecret": shown({**_ENDPOINT, "secret": STRING}),
    "NewKey": given(
        {
            "name": {"type": "string", "minLength": 1, "maxLength": key_requests.MAX_NAME},
            "environment": {"type": "string", "enum": ["live", "test"]},
            "scopes": array(_SCOPE) | {"minItems": 1},
            "from_domains": array(STRING, key_requests.MAX_DOMAINS),
            "networks": array(STRING, key_requests.MAX_NETWORKS),
            "expires_at": TIME,
            "project_id": STRING | {"description": "Admin keys name a project; others make keys of their own."},
        },
        "name",
        "environment",
        examples=[{"name": "checkout", "environment": "live", "scopes": ["messages.send"]}],
    ),
    "Rotation": given({"overlap": STRING | {"description": "How long the old key goes on: `0`, `24h`, `7d`."}}),
    "Key": shown(_KEY),
    "KeyWithSecret": shown({**_KEY, "key": STRING}),
    "RotatedKey": shown({**_KEY, "key": STRING, "rotated": shown({"id": STRING, "expires_at": TIME})}),
    "NewDomain": given(
        {
            "domain": STRING | {"maxLength": 253},
            "ed25519": BOOLEAN
            | {"description": "A second signature, which some providers do not read.", "default": False},
        },
        "domain",
        examples=[{"domain": "example.com"}],
    ),
    "Domain": shown(
        {
            "id": STRING,
            "domain": STRING,
            "status": {"type": "string", "enum": ["verified", "unverified"]},
            "verified_at": or_null(TIME),
            "checked_at": or_null(TIME),
            "return_path": or_null(STRING),
            "records": array(ref("DomainRecord")),
            "created_at": TIME,
        }
    ),
    "DomainRecord": shown(
        {
            "purpose": {"type": "string", "enum": ["dkim", "spf", "return_path", "dmarc"]},
            "type": {"type": "string", "enum": ["TXT", "CNAME"]},
            "name": STRING,
            "value": STRING,
            "required": BOOLEAN,
            "status": {"type": "string", "enum": list(get_args(RecordStatus))},
            "found": array(STRING) | {"description": "What stands there, at the last look."},
        }
    ),
    "NewProject": given(_PROJECT, "name", examples=[{"name": "Shop", "from": "Shop <hello@example.com>"}]),
    "ProjectChange": given(_PROJECT),
    "Project": shown(
        {
            "id": STRING,
            "name": STRING,
            "plan": STRING,
            "requests_per_minute": INTEGER,
            "from": or_null(STRING),
            "unsubscribe_tags": array(STRING),
            "created_at": TIME,
        }
    ),
    "Ledger": shown({"object": {"const": "ledger"}, "data": array(ref("LedgerHour"))}),
    "LedgerHour": shown(
        {"hour": TIME, **_COUNTED, "log": shown(_COUNTED), "missing": INTEGER, "drift": INTEGER},
        examples=[{"hour": "2026-01-31T08:00:00.000Z", **_COUNTS, "log": _COUNTS, "missing": 0, "drift": 0}],
    ),
    "SandboxMail": shown(_SANDBOX),
    "SandboxMailWithContent": shown(
        {
            **_SANDBOX,
            "headers": array(shown({"name": STRING, "value": STRING})),
            "text": or_null(STRING),
            "html": or_null(STRING),
            "attachments": array(ANYTHING),
            "raw": or_null(STRING),
        }
    ),
    "Deleted": shown({**_DELETED, "id": STRING, "recipient": STRING, "name": STRING}, "id", "recipient", "name"),
    "WebhookAttempt": ANYTHING,
    "FieldError": shown(_FAULT, "line", "variable"),
    "Error": shown(
        {"error": _CAUSE, "errors": array(ref("FieldError")), "request_id": STRING},
        "errors",
        examples=[
            {
                "error": {
                    "code": "validation_error",
                    "message": "One field is wrong; nothing was done.",
                    "hint": "Correct the fields named in `errors`; all of them are listed. Nothing was queued.",
                },
                "errors": [{"field": "recipient", "code": "required", "message": "Give a recipient."}],
                "request_id": "req_5f0c1d2e3a4b5c6d7e8f9a0b",
            }
        ],
    ),
    "Health": shown({"status": STRING, "missing": array(STRING)}, "missing"),
}
