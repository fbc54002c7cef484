"""Where the server is and which key to show: given, or taken from SENDARIX_URL and SENDARIX_API_KEY."""

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from sendarix.errors import NotConfigured

LOCAL_URL = "http://127.0.0.1:18080"  # where `make up` puts the API


@dataclass(frozen=True, slots=True)
class Settings:
    """A server's address without the closing slash, and a key that no repr shows."""

    url: str
    api_key: str = field(repr=False)


def read_settings(api_key: str | None, url: str | None) -> Settings:
    """Raises NotConfigured."""
    key = (api_key or os.environ.get("SENDARIX_API_KEY", "")).strip()
    if not key:
        hint = "Set SENDARIX_API_KEY to a key of your project (for the local stack: `. .run/env`), or give `api_key`."
        raise NotConfigured("There is no API key.", code="missing_api_key", hint=hint)
    if not key.isascii() or not key.isprintable() or " " in key:
        hint = "Copy it anew: a key has letters, digits and underscores only."
        raise NotConfigured("The API key is damaged.", code="invalid_api_key", hint=hint)
    return Settings(_checked(url or os.environ.get("SENDARIX_URL") or LOCAL_URL), key)


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.query and not parts.fragment
    except ValueError:
        usable = False
    if not usable:
        hint = f"Set SENDARIX_URL to something like {LOCAL_URL}."
        raise NotConfigured("The address of the server is not one.", code="invalid_url", hint=hint)
    return url.rstrip("/")
