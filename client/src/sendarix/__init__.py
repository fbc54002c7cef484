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
from sendarix.shapes import Attachment, Event, Mail, Message, Sent
from sendarix.surroundings import Surroundings

__all__ = [
    "AsyncSendarix",
    "Attachment",
    "AuthenticationFailed",
    "Conflict",
    "Event",
    "FieldError",
    "IdempotencyKeyReused",
    "InvalidRequest",
    "Mail",
    "Message",
    "NotConfigured",
    "NotFound",
    "PermissionDenied",
    "Policy",
    "RateLimited",
    "Sendarix",
    "SendarixError",
    "Sent",
    "Surroundings",
    "Unavailable",
    "ValidationError",
    "attachment",
]
