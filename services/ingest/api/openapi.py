"""The OpenAPI 3.1 document of the public API, made from one table of its routes (R15).

`python -m services.ingest.api.openapi` writes schemas/openapi.json and docs/errors.md. Tests compare the table with the routes of the app,
and run the document against the service.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

from chassis.streaming import EVENT_STREAM
from schemas.events import SuppressionOrigin, SuppressionReason
from schemas.mail import Lane
from services.ingest.api.openapi_delivery import DELIVERY_SHAPES, KIND
from services.ingest.api.openapi_explained import EXPLAINED_QUERY, EXPLAINED_SHAPES
from services.ingest.api.openapi_failures import CATEGORY, FAILURE_SHAPES
from services.ingest.api.openapi_metrics import DIMENSIONS, METRICS_QUERY, METRICS_SHAPES
from services.ingest.api.openapi_shapes import BOOLEAN, INTEGER, SHAPES, STATUS, STRING, TIME, Schema, page_of, ref
from services.ingest.domain.access import Scope
from services.ingest.domain.error_codes import error_codes, errors_page

_ROOT = Path(__file__).parents[3]
FILE = _ROOT / "schemas" / "openapi.json"
ERRORS = _ROOT / "docs" / "errors.md"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `scope` None: no key is asked for."""

    method: str
    path: str
    summary: str
    scope: Scope | None
    answers: Mapping[int, Schema | str]  # a schema, or another content type
    body: str | None = None  # the name of a shape
    body_may_be_missing: bool = False
    query: tuple[str, ...] = ()
    keyed: bool = False  # takes an Idempotency-Key
    streamed: bool = False  # also as server-sent events, by `Accept`
    errors: tuple[int, ...] = ()  # beside those of every operation
    known_as: str | None = None  # where method and path do not make a name of its own

    @property
    def name(self) -> str:
        if self.known_as is not None:
            return self.known_as
        words = [word.strip("{}") for word in self.path.removeprefix("/v1").strip("/").split("/")]
        return "_".join([self.method.lower(), *words]).replace("-", "_")


_QUERY: Mapping[str, Schema] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 25},
    "after": STRING,
    "status": STATUS,
    "status of attempts": {"type": "string", "enum": ["succeeded", "failed"]},
    "event_id": STRING,
    "recipient": STRING,
    "recipient_domain": STRING,
    "from": STRING,
    "subject": STRING,
    "tag": STRING,
    "since": TIME,
    "until": TIME,
    "types": STRING,
    "search": {"type": "string", "minLength": 1, "maxLength": 320},
    "reason": {"type": "string", "enum": list(get_args(SuppressionReason))},
    "origin": {"type": "string", "enum": list(get_args(SuppressionOrigin))},
    "project_id": STRING,
    "version": {"type": "integer", "minimum": 1},
    "kind": KIND,
    "destination": STRING,
    "provider_group": STRING,
    "lane": {"type": "string", "enum": list(get_args(Lane))},
    "category": CATEGORY,
    "path": STRING,
    "template": STRING,
    "redriven": BOOLEAN,
    "message_ids": STRING,
    **METRICS_QUERY,
    **EXPLAINED_QUERY,
}
_PAGE = ("limit", "after")
_OF_MESSAGES = (
    "status", "recipient", "recipient_domain", "from", "subject", "tag", "template", "path", "error_category", "channel",
    "since", "until",
)  # fmt: skip
_OF_SUPPRESSIONS = ("reason", "origin", "tag", "search")
_HTML, _TEXT = "text/html", "text/plain"
_ONE_TEMPLATE, _ONE_MESSAGE = "/v1/templates/{name_or_id}", "/v1/messages/{message_id}"
_ONE_QUEUE, _ONE_ALERT = "/v1/queues/{queue}", "/v1/alerts/{alert_id}"
_OF_LETTERS = ("category", "recipient_domain", "template", "tag", "path", "environment", "since", "until", "redriven")
_ONE_LETTER = "/v1/dead-letters/{message_id}"


def _suppression_routes(path: str, what: str) -> list[Operation]:
    one = f"{path}/{{address}}"
    return [
        Operation("POST", path, f"Put an address on the list ({what})", "suppressions.write",
                  {201: ref("Suppression")}, "NewSuppression"),
        Operation("GET", path, f"The list ({what}), newest first", "suppressions.read",
                  {200: page_of(ref("Suppression"))}, query=(*_PAGE, *_OF_SUPPRESSIONS)),
        Operation("GET", one, f"One address ({what}), with all causes", "suppressions.read",
                  {200: ref("SuppressionWithCauses")}, query=_OF_SUPPRESSIONS, errors=(404,)),
        Operation("DELETE", one, f"Take an address off the list ({what})", "suppressions.write",
                  {200: ref("Deleted")}, query=_OF_SUPPRESSIONS, errors=(404,)),
    ]  # fmt: skip


def _versioned_routes(what: Literal["route", "upstream", "policy"], plural: str, about: str) -> list[Operation]:
    path, shape = f"/v1/{plural}", what.capitalize()
    one = f"{path}/{{{what}_id}}"
    scopes: dict[str, Any] = {"read": f"{plural}.read", "write": f"{plural}.write"}
    return [
        Operation("POST", path, f"Make {about}; with an admin key for all projects", scopes["write"],
                  {201: ref(shape)}, f"New{shape}", errors=(409,)),
        Operation("GET", path, f"{plural.capitalize()} of the project and of the installation, newest first",
                  scopes["read"], {200: page_of(ref(shape))}, query=_PAGE),
        Operation("GET", one, f"One {what}", scopes["read"], {200: ref(shape)}, errors=(404,)),
        Operation("PATCH", one, f"A new version of the {what}; what is not named stays", scopes["write"],
                  {200: ref(shape)}, f"{shape}Change", errors=(404,)),
        Operation("DELETE", one, f"Remove the {what}; this can be undone", scopes["write"],
                  {200: ref("Deleted")}, errors=(404, 409)),
        Operation("POST", f"{one}/undo", "Back to what it said before the last change, a deletion included",
                  scopes["write"], {200: {"anyOf": [ref(shape), ref("Deleted")]}}, errors=(404, 409)),
    ]  # fmt: skip


OPERATIONS: list[Operation] = [
    Operation("POST", "/v1/messages", "Send a mail: 202 says that it is stored durably, once", "messages.send",
              {202: ref("Accepted")}, "Mail", keyed=True),
    Operation("POST", "/v1/messages/batch", "Send up to 1000 mails in one request", "messages.send",
              {202: ref("BatchAnswer")}, "Batch", keyed=True),
    Operation("GET", "/v1/messages", "Messages, newest first; `metadata[key]` filters by metadata", "messages.read",
              {200: page_of(ref("Message"))}, query=(*_PAGE, *_OF_MESSAGES)),
    Operation("GET", _ONE_MESSAGE, "One message, with its timeline", "messages.read",
              {200: ref("Message")}, query=("as_of",), errors=(404,)),
    Operation("GET", f"{_ONE_MESSAGE}/explain", "Why it went as it did, and what it waits for", "messages.read",
              {200: ref("Explanation")}, query=("as_of",), errors=(404,)),
    Operation("DELETE", _ONE_MESSAGE, "Cancel a message before its first attempt", "messages.send",
              {200: ref("Message")}, keyed=True, errors=(404, 409)),
    Operation("PATCH", _ONE_MESSAGE, "Move a scheduled message to another time", "messages.send",
              {200: ref("Message")}, "Reschedule", keyed=True, errors=(404, 409)),
    Operation("POST", f"{_ONE_MESSAGE}/release", "Let a held message go on", "messages.send",
              {200: ref("Message")}, keyed=True, errors=(404, 409)),
    Operation("GET", "/v1/events", "Events, oldest first, as they stand in Kafka; `after=now`: from now on", "events.read",
              {200: page_of(ref("Event"))}, query=(*_PAGE, "types"), streamed=True),
    Operation("GET", "/v1/metrics", "Counts, rates and latencies of the project's mail, by interval and group", "metrics.read",
              {200: ref("Metrics")}, query=("since", "until", "interval", "time_zone", "group_by", *DIMENSIONS)),
    Operation("GET", "/v1/ledger", "What became of everything accepted, by hour, from ClickHouse and from the log",
              "ledger.read", {200: ref("Ledger")}, query=("since", "until"), errors=(422,)),
    Operation("GET", "/v1/sandbox/messages", "What test keys have sent", "sandbox.read",
              {200: page_of(ref("SandboxMail"))}, query=(*_PAGE, "recipient")),
    Operation("GET", "/v1/sandbox/messages/{message_id}", "One mail of a test key, with its MIME", "sandbox.read",
              {200: ref("SandboxMailWithContent")}, errors=(404, 422)),
    Operation("POST", "/v1/templates", "Make a template", "templates.write",
              {201: ref("TemplateWithContent")}, "NewTemplate", errors=(409,)),
    Operation("GET", "/v1/templates", "Templates, newest first", "templates.read",
              {200: page_of(ref("Template"))}, query=_PAGE),
    Operation("GET", _ONE_TEMPLATE, "One template, with its latest version or `version`", "templates.read",
              {200: ref("TemplateWithContent")}, query=("version",), errors=(404,)),
    Operation("PUT", _ONE_TEMPLATE, "Give a template a new version", "templates.write",
              {200: ref("TemplateWithContent")}, "NewVersion", errors=(404,)),
    Operation("DELETE", _ONE_TEMPLATE, "Delete a template", "templates.write", {200: ref("Deleted")}, errors=(404,)),
    Operation("POST", f"{_ONE_TEMPLATE}/publish", "Make mail from the latest version, or from `version`",
              "templates.write", {200: ref("TemplateWithContent")}, "TemplateVersionNumber",
              body_may_be_missing=True, errors=(404,)),
    Operation("POST", f"{_ONE_TEMPLATE}/render", "What a mail would say", "templates.read",
              {200: ref("Rendered")}, "Preview", errors=(404,)),
    Operation("POST", f"{_ONE_TEMPLATE}/validate", "Whether it is a template, and the variables it uses",
              "templates.read", {200: ref("Validity")}, "ToValidate", body_may_be_missing=True, errors=(404,)),
    *_suppression_routes("/v1/suppressions", "all reasons"),
    *_suppression_routes("/v1/unsubscribes", "unsubscribed"),
    Operation("POST", "/v1/webhooks", "Have events called to a URL; the answer has the signing secret, this once",
              "webhooks.write", {201: ref("WebhookWithSecret")}, "NewWebhook"),
    Operation("GET", "/v1/webhooks", "Webhooks, newest first", "webhooks.read", {200: page_of(ref("Webhook"))},
              query=_PAGE),
    Operation("GET", "/v1/webhooks/{endpoint_id}", "One webhook", "webhooks.read", {200: ref("Webhook")},
              errors=(404,)),
    Operation("PATCH", "/v1/webhooks/{endpoint_id}", "Change a webhook, or disable it; what is not named stays",
              "webhooks.write", {200: ref("Webhook")}, "WebhookChange", errors=(404,)),
    Operation("POST", "/v1/webhooks/{endpoint_id}/rotate-secret",
              "A new signing secret; calls carry both signatures for a while", "webhooks.write",
              {200: ref("WebhookWithSecret")}, "Rotation", body_may_be_missing=True, errors=(404,)),
    Operation("POST", "/v1/webhooks/{endpoint_id}/test", "Have a test event called, once", "webhooks.write",
              {202: ref("WebhookTest")}, errors=(404,)),
    Operation("POST", "/v1/webhooks/{endpoint_id}/replays", "Have one event, or those of a window, called once more",
              "webhooks.write", {202: ref("WebhookReplay")}, "NewReplay", errors=(404, 409)),
    Operation("GET", "/v1/webhooks/{endpoint_id}/replays", "Replays of a webhook, newest first", "webhooks.read",
              {200: page_of(ref("WebhookReplay"))}, query=_PAGE, errors=(404,)),
    Operation("GET", "/v1/webhooks/{endpoint_id}/replays/{replay_id}", "One replay, and how far it has come",
              "webhooks.read", {200: ref("WebhookReplay")}, errors=(404,)),
    Operation("DELETE", "/v1/webhooks/{endpoint_id}", "Remove a webhook", "webhooks.write", {200: ref("Deleted")},
              errors=(404,)),
    Operation("GET", "/v1/webhooks/{endpoint_id}/attempts", "Calls of a webhook, newest first", "webhooks.read",
              {200: page_of(ref("WebhookAttempt"))}, query=(*_PAGE, "status of attempts", "event_id"), errors=(404,)),
    Operation("POST", "/v1/api-keys", "Make a key; the answer has it, this once", "api_keys.write",
              {201: ref("KeyWithSecret")}, "NewKey"),
    Operation("GET", "/v1/api-keys", "Keys, newest first", "api_keys.read", {200: page_of(ref("Key"))},
              query=(*_PAGE, "project_id")),
    Operation("GET", "/v1/api-keys/{key_id}", "One key", "api_keys.read", {200: ref("Key")}, errors=(404,)),
    Operation("POST", "/v1/api-keys/{key_id}/rotate", "A new key with the same rights", "api_keys.write",
              {201: ref("RotatedKey")}, "Rotation", body_may_be_missing=True, errors=(404,)),
    Operation("DELETE", "/v1/api-keys/{key_id}", "Revoke a key, everywhere once it is answered", "api_keys.write",
              {200: ref("Deleted")}, errors=(404,)),
    Operation("POST", "/v1/domains", "Add a sender domain; the answer has the DNS records to publish", "domains.write",
              {201: ref("Domain")}, "NewDomain", errors=(409,)),
    Operation("GET", "/v1/domains", "Sender domains, newest first", "domains.read", {200: page_of(ref("Domain"))},
              query=_PAGE),
    Operation("GET", "/v1/domains/{domain_id}", "One sender domain", "domains.read", {200: ref("Domain")},
              errors=(404,)),
    Operation("POST", "/v1/domains/{domain_id}/verify", "Look its records up in DNS, now", "domains.write",
              {200: ref("Domain")}, errors=(404,)),
    Operation("DELETE", "/v1/domains/{domain_id}", "Remove a sender domain; its mail is refused from then on",
              "domains.write", {200: ref("Deleted")}, errors=(404,)),
    Operation("POST", "/v1/projects", "Make a project", "projects.write", {201: ref("Project")}, "NewProject"),
    Operation("GET", "/v1/projects", "Projects, newest first", "projects.read", {200: page_of(ref("Project"))},
              query=_PAGE),
    Operation("GET", "/v1/projects/{project_id}", "One project", "projects.read", {200: ref("Project")},
              errors=(404,)),
    Operation("PATCH", "/v1/projects/{project_id}", "Change a project; what is not named stays", "projects.write",
              {200: ref("Project")}, "ProjectChange", errors=(404,)),
    Operation("GET", "/v1/routes/explain", "Which way such a mail would go; nothing is sent", "routes.read",
              {200: ref("RouteExplanation")}, query=("recipient", "from", "tag", "tier")),
    *_versioned_routes("route", "routes", "a rule that chooses a path"),
    *_versioned_routes("upstream", "upstreams", "a smarthost, by a provider's name or by hand"),
    *_versioned_routes("policy", "policies", "a policy: retries, TLS and pace by where mail goes"),
    Operation("GET", "/v1/pools", "Pools of senders, with their reputation", "pools.read", {200: page_of(ref("Pool"))}),
    Operation("GET", "/v1/pools/{pool}", "One pool", "pools.read", {200: ref("Pool")}, errors=(404,)),
    Operation("GET", "/v1/queues", "What waits where, the longest queue first", "queues.read",
              {200: page_of(ref("Queue"))}, query=(*_PAGE, "kind", "destination", "provider_group", "lane")),
    Operation("GET", _ONE_QUEUE, "One queue", "queues.read", {200: ref("Queue")}, query=("kind",)),
    Operation("POST", f"{_ONE_QUEUE}/pause", "Stop a queue: its mail waits; a project's key stops its own mail",
              "queues.write", {200: ref("Queue")}, "Pause", body_may_be_missing=True, query=("kind",), errors=(409,)),
    Operation("POST", f"{_ONE_QUEUE}/resume", "Let a queue go on", "queues.write", {200: ref("Queue")}, "QueueOrder",
              body_may_be_missing=True, query=("kind",), errors=(409,)),
    Operation("POST", f"{_ONE_QUEUE}/flush", "What waits for its next attempt is due at once", "queues.write",
              {200: ref("Queue")}, "QueueOrder", body_may_be_missing=True, query=("kind",)),
    Operation("GET", "/v1/dead-letters", "Messages that failed for good, newest first; `message_ids`: a comma list",
              "messages.read", {200: page_of(ref("DeadLetter"))}, query=(*_PAGE, *_OF_LETTERS, "message_ids")),
    Operation("GET", "/v1/dead-letters/groups", "How many failed for one cause, the most frequent first",
              "messages.read", {200: page_of(ref("DeadLetterGroup"))}, query=_OF_LETTERS),
    Operation("GET", _ONE_LETTER, "One message that failed", "messages.read", {200: ref("DeadLetter")},
              errors=(404, 422)),
    Operation("POST", f"{_ONE_LETTER}/redrive", "Send it once more, as a new message", "messages.send",
              {202: ref("Redriven")}, "Nothing", body_may_be_missing=True, keyed=True, errors=(404, 409)),
    Operation("POST", "/v1/dead-letters/redrive", "Send many once more, each as a new message", "messages.send",
              {202: ref("RedriveAnswer")}, "Redrive", keyed=True),
    Operation("POST", "/v1/alerts", "Have something watched", "alerts.write", {201: ref("Alert")}, "NewAlert",
              errors=(409,)),
    Operation("GET", "/v1/alerts", "Alerts with how they stand, newest first", "alerts.read",
              {200: page_of(ref("Alert"))}, query=_PAGE),
    Operation("GET", _ONE_ALERT, "One alert", "alerts.read", {200: ref("Alert")}, errors=(404,)),
    Operation("PATCH", _ONE_ALERT, "Change an alert, or switch it off; what is not named stays", "alerts.write",
              {200: ref("Alert")}, "AlertChange", errors=(404,)),
    Operation("DELETE", _ONE_ALERT, "Remove an alert; this can be undone", "alerts.write", {200: ref("Deleted")},
              errors=(404,)),
    Operation("POST", f"{_ONE_ALERT}/undo", "Back to what it said before the last change, a deletion included",
              "alerts.write", {200: {"anyOf": [ref("Alert"), ref("Deleted")]}}, errors=(404, 409)),
    Operation("GET", "/u/{token}", "The page of an unsubscribe link: it asks", None, {200: _HTML, 404: _HTML}),
    Operation("POST", "/u/{token}", "Unsubscribe (RFC 8058)", None, {200: _HTML, 400: _HTML, 404: _HTML},
              errors=(413,)),
    Operation("GET", "/openapi.json", "This document", None, {200: {"type": "object"}}),
    Operation("GET", "/docs", "This document, to be read", None, {200: _HTML}),
    Operation("GET", "/docs/errors", "All error codes, to be read", None, {200: _HTML}),
    Operation("GET", "/asyncapi.json", "The topics that teams may subscribe to, as AsyncAPI", None,
              {200: {"type": "object"}}),
    Operation("GET", "/events-docs", "Those topics, to be read", None, {200: _HTML}),
    Operation("GET", "/health/live", "Whether the process runs", None, {200: ref("Health")}),
    Operation("GET", "/health/ready", "What is missing before it may take work", None,
              {200: ref("Health"), 503: ref("Health")}),
    Operation("GET", "/metrics", "Prometheus", None, {200: _TEXT}, known_as="get_prometheus"),
]  # fmt: skip

_OF_BODIES, _OF_EVERY_KEY = (400, 413, 415, 422), (400, 401, 403, 429, 500, 503)
_HEADERS: Json = {
    "X-Request-Id": {"description": "The request's, where it has one; else made here.", "schema": STRING},
    "X-RateLimit-Limit": {"description": "Requests a minute.", "schema": INTEGER},
    "X-RateLimit-Remaining": {"description": "What is left of them.", "schema": INTEGER},
    "X-RateLimit-Reset": {"description": "When the minute ends, in Unix seconds.", "schema": INTEGER},
}
_RETRY_AFTER: Json = {"Retry-After": {"description": "Seconds.", "required": True, "schema": INTEGER}}
_REPLAYED: Json = {"Idempotent-Replayed": {"description": "`true` on a repeat.", "schema": STRING}}
_REQUEST_ID: Json = {
    "name": "X-Request-Id",
    "in": "header",
    "description": "Found again in the answer, in our logs and in the events of the mail; 1 to 128 of A-Z a-z 0-9 . _ -, else one is made here.",
    "schema": STRING,
}
_MEANINGS = {202: "Accepted: durable, and sent once", 200: "Done", 201: "Made"}


def document() -> Json:
    """The whole document."""
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sendarix",
            "version": "1",
            "description": "Transactional e-mail. Errors: /docs/errors. Times are RFC 3339, in UTC where none is said.",
        },
        "paths": paths,
        "components": {
            "schemas": SHAPES | DELIVERY_SHAPES | EXPLAINED_SHAPES | FAILURE_SHAPES | METRICS_SHAPES,
            "headers": _HEADERS | _REPLAYED,
            "parameters": {"X-Request-Id": _REQUEST_ID},
            "responses": _errors(),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "`sk_live_…`, `sk_test_…` or `sk_admin_…`"}
            },
        },
    }


def _operation(operation: Operation) -> Json:
    found: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": {str(status): _response(operation, status) for status in sorted(_statuses(operation))},
        "security": [] if operation.scope is None else [{"key": []}],
    }
    if operation.scope is not None:
        found["description"] = f"Needs the scope `{operation.scope}`."
    if operation.body is not None:
        content = {"application/json": {"schema": ref(operation.body)}}
        found["requestBody"] = {"required": not operation.body_may_be_missing, "content": content}
    return found


def _parameters(operation: Operation) -> list[Json]:
    named = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    found = [{"name": name, "in": "path", "required": True, "schema": STRING} for name in named]
    found += [{"name": name.partition(" ")[0], "in": "query", "schema": _QUERY[name]} for name in operation.query]
    if operation.keyed:
        schema = {"type": "string", "minLength": 1, "maxLength": 256}
        found.append({"name": "Idempotency-Key", "in": "header", "schema": schema})
    if operation.streamed:
        found.append(
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "Of a stream: goes on behind it.",
                "schema": STRING,
            }
        )
    found.append({"$ref": "#/components/parameters/X-Request-Id"})
    return found


def _statuses(operation: Operation) -> set[int]:
    found = {*operation.answers, *operation.errors}
    if operation.scope is not None:
        found |= {*_OF_EVERY_KEY}
    elif operation.path.startswith("/u/"):
        found |= {429, 500, 503}
    if operation.body is not None:
        found |= {*_OF_BODIES}
    return found | ({422} if operation.query else set())


def _response(operation: Operation, status: int) -> Json:
    answer = operation.answers.get(status)
    if answer is None:
        return {"$ref": f"#/components/responses/{_name_of(status)}"}
    names = [*_HEADERS, *(_REPLAYED if operation.keyed and status == 202 else ())]
    return {
        "description": _MEANINGS.get(status, "Refused"),
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {answer: {"schema": STRING}} if isinstance(answer, str) else _json(answer) | _streamed(operation),
    }


def _streamed(operation: Operation) -> Json:
    return {EVENT_STREAM: {"schema": STRING}} if operation.streamed else {}


def _errors() -> Json:
    """The answer to each status of an error, in the one error shape."""
    by_status: dict[int, list[str]] = {}
    for code in error_codes():
        by_status.setdefault(code.status, []).append(f"`{code.code}`")
    return {
        _name_of(status): {
            "description": f"{', '.join(codes)}: see /docs/errors",
            "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in _HEADERS}
            | (_RETRY_AFTER if status in {429, 503} else {}),
            "content": _json(ref("Error")),
        }
        for status, codes in by_status.items()
    }


def _name_of(status: int) -> str:
    return f"Error{status}"


def _json(schema: Schema) -> Json:
    return {"application/json": {"schema": schema}}


def written() -> bytes:
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def main() -> int:
    FILE.write_bytes(written())
    ERRORS.write_text(errors_page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
