"""What is wrong with a request: one fault per field, and the refusals the API answers with.

The catalogue of codes is here and nowhere else; a code, once published, never changes its meaning.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One field at fault. `field` is a path such as `recipient[2]` or `headers.X-A`."""

    field: str
    code: str
    message: str
    line: int | None = None  # where in a template
    variable: str | None = None

    def shown(self) -> dict[str, str | int]:
        """As it stands in an answer: `line` and `variable` only where there are some."""
        shown: dict[str, str | int] = {"field": self.field, "code": self.code, "message": self.message}
        if self.line is not None:
            shown["line"] = self.line
        if self.variable is not None:
            shown["variable"] = self.variable
        return shown


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a code stands for: its HTTP status and what the caller should do about it."""

    status: int
    hint: str


CODES: dict[str, Meaning] = {
    "invalid_json": Meaning(400, "Send one JSON object in UTF-8, without NaN, lone surrogates or deep nesting."),
    "incomplete_body": Meaning(400, "Send the whole body, at once. The request was not carried out."),
    "invalid_idempotency_key": Meaning(400, "Send one Idempotency-Key of 1 to 256 printable characters, or none."),
    "invalid_encoding": Meaning(400, "Send one gzip member, whole, with nothing behind it; or send without it."),
    "missing_api_key": Meaning(401, "Send the header `Authorization: Bearer <key>`."),
    "invalid_api_key": Meaning(401, "Check the key, or create a new one. Do not retry unchanged."),
    "insufficient_scope": Meaning(403, "Use a key that has the scope. Do not retry unchanged."),
    "address_not_allowed": Meaning(403, "Use the key from one of its networks, or a key without that limit."),
    "not_found": Meaning(404, "Check the id. An id of another project is not found either."),
    "conflict": Meaning(409, "Read the message: its state does not allow this. Do not retry unchanged."),
    "content_expired": Meaning(409, "Make the mail anew: the content of a mail is kept for 7 days."),
    "payload_too_large": Meaning(413, "Make the message smaller, or name fewer recipients. Do not retry unchanged."),
    "unsupported_encoding": Meaning(415, "Compress the body with gzip, or not at all. Do not retry unchanged."),
    "validation_error": Meaning(
        422, "Correct the fields named in `errors`; all of them are listed. Nothing was queued."
    ),
    "template_error": Meaning(422, "Correct the template or its data as `errors` says. Do not retry unchanged."),
    "unsupported_field": Meaning(422, "Leave the field out: it is not supported yet, and never ignored."),
    "sender_not_allowed": Meaning(422, "Send from a domain that this project has verified and this key may use."),
    "idempotency_key_reused": Meaning(422, "Use a new key for a new request; repeat the first body to get its answer."),
    "rate_limited": Meaning(429, "Wait for the time in Retry-After, then go on; spread the requests."),
    "unavailable": Meaning(503, "Retry after the time in Retry-After."),
}

UNKNOWN_OUTCOME_HINT = (
    "Unknown: the request may or may not have been accepted. Retry with the same Idempotency-Key to get one message "
    "and its answer; without a key a retry may send twice."
)


class Refused(Exception):
    """The request is answered with `code` of the catalogue, and nothing (more) happens."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        faults: Sequence[Fault] = (),
        retry_after: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.faults = tuple(faults)
        self.retry_after = retry_after
        self.hint = hint or CODES[code].hint

    @property
    def status(self) -> int:
        return CODES[self.code].status


# Faults that are the answer's own code where there is no other beside them: a program acts on these.
_TELLING = frozenset({"unsupported_field", "sender_not_allowed"})


def invalid(faults: Sequence[Fault]) -> Refused:
    """The 422 that names every fault."""
    codes = {fault.code for fault in faults}
    code = next(iter(codes)) if len(codes) == 1 and codes <= _TELLING else "validation_error"
    count = "One field is" if len(faults) == 1 else f"{len(faults)} fields are"
    return Refused(code, f"{count} wrong; nothing was done.", faults=faults)
