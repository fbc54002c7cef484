"""Client of Sendarix: `Sendarix` and `AsyncSendarix` send mail, cancel it, and say what became of it."""

from sendarix.attachments import attachment
from sendarix.client import AsyncSendarix, Sendarix
from sendarix.errors import (
    AuthenticationFailed,
    Conflict,
    FieldError,
    IdempotencyKeyReused,
    InvalidRequest,
    NotConfigured,
    NotFound,
    PermissionDenied,
    RateLimited,
    SendarixError,
    Unavailable,
    ValidationError,
)
from sendarix.retries import Policy
from sendarix.surroundings import Surroundings

__all__ = [
    "AsyncSendarix",
    "AuthenticationFailed",
    "Conflict",
    "FieldError",
    "IdempotencyKeyReused",
    "InvalidRequest",
    "NotConfigured",
    "NotFound",
    "PermissionDenied",
    "Policy",
    "RateLimited",
    "Sendarix",
    "SendarixError",
    "Surroundings",
    "Unavailable",
    "ValidationError",
    "attachment",
]
