"""What can go wrong, as exceptions by the API's codes; each says what to do next, and none ever holds a key of yours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sendarix.exchange import Answer, NoAnswer, Request


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field at fault. `field` is a path such as `recipient[2]`; `line` and `variable` say where in a template."""

    field: str
    code: str
    message: str
    line: int | None = None
    variable: str | None = None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "FieldError":
        return cls(said["field"], said["code"], said["message"], said.get("line"), said.get("variable"))


class SendarixError(Exception):
    """The request was not carried out as asked. `code` is stable: decide by it, or by the class."""

    def __init__(
        self, message: str, *, code: str, hint: str = "", status: int | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint
        self.status = status
        self.request_id = request_id

    def __str__(self) -> str:
        known = f"(code {self.code}" + (f", request {self.request_id})" if self.request_id else ")")
        return " ".join(part for part in (self.message, self.hint, known) if part)


class NotConfigured(SendarixError):
    """The client lacks a key or has an address that is none; nothing was sent."""


class InvalidRequest(SendarixError):
    """400, 413 and what else the server could not take in: the request has to change."""


class ValidationError(SendarixError):
    """422: `errors` names every field at fault; nothing was done."""

    def __init__(self, message: str, *, errors: tuple[FieldError, ...] = (), **rest: Any) -> None:
        super().__init__(message, **rest)
        self.errors = errors

    def __str__(self) -> str:
        lines = [f"\n  {error.field}: {error.message} ({error.code})" for error in self.errors]
        return super().__str__() + "".join(lines)


class IdempotencyKeyReused(ValidationError):
    """422: this key belongs to another request already."""


class AuthenticationFailed(SendarixError):
    """401: there is no such key, or no longer."""


class PermissionDenied(SendarixError):
    """403: the key may not do this."""


class NotFound(SendarixError):
    """404: it does not exist, or belongs to another project."""


class Conflict(SendarixError):
    """409: it does not fit what is there."""


class RateLimited(SendarixError):
    """429, and all retries with it. `retry_after`: seconds after which the limit is free again."""

    def __init__(self, message: str, *, retry_after: float, **rest: Any) -> None:
        super().__init__(message, **rest)
        self.retry_after = retry_after


class Unavailable(SendarixError):
    """5xx or no answer, and all retries with it.

    `outcome_unknown`: it may have been carried out all the same. Repeat it with `idempotency_key` and it happens once.
    """

    def __init__(self, message: str, *, outcome_unknown: bool, idempotency_key: str | None, **rest: Any) -> None:
        super().__init__(message, **rest)
        self.outcome_unknown = outcome_unknown
        self.idempotency_key = idempotency_key


_BY_CODE: Mapping[str, type[SendarixError]] = {"idempotency_key_reused": IdempotencyKeyReused}
_BY_STATUS: Mapping[int, type[SendarixError]] = {
    401: AuthenticationFailed,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    422: ValidationError,
}
_NO_JSON = "The answer is not one of Sendarix. Check the address of the server (SENDARIX_URL)."


def error_of(request: Request, outcome: Answer | NoAnswer, retry_after: float) -> SendarixError:
    """The exception for what is not a success."""
    if isinstance(outcome, NoAnswer):
        return _of_silence(request, outcome)
    said = _Said.of(outcome)
    known: dict[str, Any] = {"code": said.code, "status": outcome.status, "request_id": said.request_id}
    if outcome.status == 429:
        return RateLimited(said.message, hint=said.hint, retry_after=retry_after, **known)
    if outcome.status >= 500:
        unknown = request.method != "GET"
        hint = _how_to_repeat(request) if unknown else said.hint
        key = request.idempotency_key
        return Unavailable(said.message, hint=hint, outcome_unknown=unknown, idempotency_key=key, **known)
    kind = _BY_CODE.get(said.code) or _BY_STATUS.get(outcome.status, InvalidRequest)
    if issubclass(kind, ValidationError):
        return kind(said.message, hint=said.hint, errors=said.errors, **known)
    return kind(said.message, hint=said.hint, **known)


def not_ours(answer: Answer) -> SendarixError:
    """The error for a success that holds no JSON: somebody else answers at this address."""
    request_id = answer.headers.get("x-request-id")
    message, code = "The server answered something that is not JSON.", "unexpected_answer"
    return SendarixError(message, code=code, hint=_NO_JSON, status=answer.status, request_id=request_id)


def _of_silence(request: Request, silence: NoAnswer) -> SendarixError:
    unknown = silence.sent and request.method != "GET"
    hint = _how_to_repeat(request) if unknown else "Nothing was done. Check that the server runs, and SENDARIX_URL."
    message = f"No answer came: {silence.reason}."
    key = request.idempotency_key
    return Unavailable(message, code="no_answer", hint=hint, outcome_unknown=unknown, idempotency_key=key)


def _how_to_repeat(request: Request) -> str:
    if request.idempotency_key is not None:
        return f"It may have been carried out: repeat it with the idempotency key {request.idempotency_key}, and it happens once."
    if request.repeatable:
        return "It may have been carried out: repeat it, that does no harm."
    return "It may have been carried out: look at the list before you repeat it."


@dataclass(frozen=True, slots=True)
class _Said:
    """What an error's body says, whoever wrote it."""

    code: str
    message: str
    hint: str
    errors: tuple[FieldError, ...]
    request_id: str | None

    @classmethod
    def of(cls, answer: Answer) -> "_Said":
        request_id = answer.headers.get("x-request-id")
        try:
            body = answer.json()
            error = body["error"]
            errors = tuple(FieldError.of(fault) for fault in body.get("errors", ()))
            return cls(
                str(error["code"]), str(error["message"]), str(error.get("hint", "")), errors, body.get("request_id")
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            message = f"The server answered {answer.status} without saying more."
            return cls("unexpected_answer", message, _NO_JSON, (), request_id)
