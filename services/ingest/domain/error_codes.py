"""Every error code of the API, explained: what it means and whether to try again (R15). The page /docs/errors is this table.

Codes of whole answers have their status and hint in faults.py; here is the prose, and the codes of single fields. A test
holds it against every code that is raised anywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from services.ingest.domain.faults import CODES

Retry = Literal["never", "after", "same_key"]
RETRIES: Mapping[Retry, str] = {
    "never": "Not unchanged: the answer would be the same.",
    "after": "Yes, after the seconds in `Retry-After`; double the wait each time.",
    "same_key": "Yes, after the seconds in `Retry-After`, with the same `Idempotency-Key`: the first attempt may have counted.",
}


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One code as the page explains it."""

    code: str
    status: int
    meaning: str
    advice: str
    retry: Retry


# Of answers that are given before, or without, a handler of this API.
_ELSEWHERE: Mapping[str, tuple[int, str]] = {
    "bad_request": (400, "Check the method and the path; every path of the API begins with /v1."),
    "method_not_allowed": (405, "Use a method that this path has; see the reference."),
    "internal_error": (500, "Try again; it has been logged. Name the `request_id` when you report it."),
}
_MEANINGS: Mapping[str, str] = {
    "bad_request": "The request can not be understood as HTTP.",
    "invalid_json": "The body is not one JSON object in UTF-8, or it has too many parts or levels.",
    "incomplete_body": "The body ended early, or did not arrive in time.",
    "invalid_idempotency_key": "The Idempotency-Key is empty, too long, given twice or not printable.",
    "invalid_encoding": "The body is not what its Content-Encoding says.",
    "missing_api_key": "There is no API key in the request.",
    "invalid_api_key": "The key is unknown, revoked or expired; the answer does not say which.",
    "insufficient_scope": "The key is good, but may not do this.",
    "address_not_allowed": "The key is good, but not from this network.",
    "not_found": "There is no such thing in this project, or it can not be changed any more.",
    "method_not_allowed": "The path exists, the method does not.",
    "conflict": "The state of the thing does not allow it, or a name is taken.",
    "content_expired": "What the mail said is kept no more, so it can not be sent once more.",
    "payload_too_large": "The request is larger than it may be.",
    "unsupported_encoding": "The body has a Content-Encoding other than gzip.",
    "validation_error": "One or more fields are wrong. All of them are listed in `errors`; nothing was done.",
    "template_error": "The template can not be rendered with this data. Nothing was queued.",
    "unsupported_field": "A field is known, but not supported here; it is never ignored.",
    "sender_not_allowed": "The domain of `from` is not verified in this project, or not allowed to this key.",
    "idempotency_key_reused": "The key was used within 24 hours for a request with another body.",
    "rate_limited": "The key, or the address, has made too many requests in this minute; or the project has too many event streams open.",
    "internal_error": "Something is wrong on our side.",
    "unavailable": "A part that is needed does not answer; or the outcome could not be confirmed in time, as the hint says then.",
}
# Of single fields, in `errors`.
FIELD_CODES: Mapping[str, str] = {
    "attachment_denied": "Files of this kind are refused, for a click may run them.",
    "before_scheduled_time": "The time lies before `scheduled_time`.",
    "conflict": "The field contradicts another, or something that exists.",
    "duplicate": "It is given twice.",
    "empty": "There is nothing in it.",
    "forbidden_characters": "It holds line breaks, NUL or other control characters that may not stand there.",
    "idempotency_key_mismatch": "The key in the body differs from the header's.",
    "in_the_past": "The time has passed.",
    "invalid_address": "It is no mail address of the form `a@b` or `Name <a@b>`.",
    "invalid_base64": "It is not base64 (RFC 4648, padded, without line breaks).",
    "invalid_content_id": "It can not stand behind `cid:`.",
    "invalid_content_type": "It is no media type.",
    "invalid_cursor": "It is no cursor of this list.",
    "invalid_filename": "It is no plain file name.",
    "invalid_header_name": "It is no name of a header field.",
    "invalid_idempotency_key": "An idempotency key has 1 to 256 printable characters.",
    "invalid_key": "The name of the entry is too long or empty.",
    "invalid_tag": "A tag is 1 to 64 letters, digits, hyphens or underscores.",
    "invalid_time": "It is no time in RFC 3339.",
    "invalid_type": "It has another JSON type.",
    "invalid_url": "It is no URL that is called.",
    "invalid_value": "It is none of the values that are allowed.",
    "missing_variable": "The template uses a variable that the data lacks.",
    "not_active": "It was revoked or has expired.",
    "not_published": "No version of the template is published.",
    "rendering_failed": "The template can not be rendered; the message says why.",
    "repeated": "The parameter is given more than once.",
    "required": "It is missing.",
    "reserved_header": "The platform writes this header itself.",
    "sender_not_allowed": "The domain is not verified in this project, or not allowed to this key.",
    "syntax_error": "The template does not parse; `line` says where.",
    "too_costly": "The template takes more time, steps or memory than one mail may.",
    "too_deep": "It is nested too deeply.",
    "too_far_ahead": "The time is more than a year ahead.",
    "too_large": "It has more bytes than it may.",
    "too_long": "It has more characters than it may.",
    "too_many": "The list has more entries than it may.",
    "unknown_event": "There is no such event type.",
    "unknown_field": "There is no such field.",
    "unknown_path": "There is no such upstream.",
    "unknown_project": "There is no such project.",
    "unknown_scope": "There is no such scope.",
    "unknown_template": "There is no such template.",
    "unsupported_field": "The field or parameter is not supported; it is never ignored.",
}


def error_codes() -> list[ErrorCode]:
    """All codes of answers, by status."""
    known = {code: (meaning.status, meaning.hint) for code, meaning in CODES.items()} | dict(_ELSEWHERE)
    found = [
        ErrorCode(code, status, _MEANINGS[code], advice, _retry(status)) for code, (status, advice) in known.items()
    ]
    return sorted(found, key=lambda code: (code.status, code.code))


def errors_page() -> str:
    """The page as Markdown: docs/errors.md."""
    lines = [
        "# Errors",
        "",
        (
            "Every error is JSON: `error` with a stable `code`, a `message` and a `hint`; `errors` names each field at fault; "
            "`request_id` is the answer's `X-Request-Id`. A program acts on `code`. Codes never change their meaning."
        ),
        "",
        "| status | code | what it means | what to do | try again? |",
        "|---|---|---|---|---|",
        *(
            f"| {code.status} | `{code.code}` | {code.meaning} | {code.advice} | {RETRIES[code.retry]} |"
            for code in error_codes()
        ),
        "",
        "## Fields",
        "",
        (
            "Each entry of `errors` has the path of a `field`, a `code` of these and a `message`; in templates also `line` "
            "and `variable`."
        ),
        "",
        "| code | what it means |",
        "|---|---|",
        *(f"| `{code}` | {meaning} |" for code, meaning in FIELD_CODES.items()),
        "",
    ]
    return "\n".join(lines)


def _retry(status: int) -> Retry:
    if status == 429:
        return "after"
    return "same_key" if status >= 500 else "never"
