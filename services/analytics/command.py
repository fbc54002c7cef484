"""`python -m services.analytics rebuild [--accept-loss]`: asks the analytics of this environment to rebuild, and watches.

It must never touch ClickHouse: the embedded engine belongs to the process that runs.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from http import HTTPMethod
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import orjson

from chassis.clock import SystemClock
from chassis.principal import HEADER, LIFETIME_MS, Principal, sign
from services.analytics.api.rebuild import PATH, SCOPE
from services.analytics.settings import AnalyticsSettings

_LOOK_EVERY = 0.5
_ANSWER_WITHIN = 60  # seconds: the rows that would be lost are counted first
_NO_ANSWER = (OSError, HTTPException)  # nobody listens, or whoever did has died amid his answer
_AWAY_AT_MOST = 120.0  # seconds that a process may take to come back, and go on


def rebuild(settings: AnalyticsSettings, arguments: Sequence[str]) -> int:
    """0 once it is done."""
    parser = argparse.ArgumentParser(prog="python -m services.analytics rebuild", description=__doc__)
    parser.add_argument("--accept-loss", action="store_true", help="rows that the log no longer has may go")
    given = parser.parse_args(arguments)
    try:
        found = _asked(settings, HTTPMethod.POST, {"accept_loss": given.accept_loss})
        run = found["run"]
        while found["step"] != "idle":
            sys.stdout.write(f"{found['step']}: {found['read']:,} of {found['records']:,} records\n")
            sys.stdout.flush()
            time.sleep(_LOOK_EVERY)
            found = _asked_until(settings, time.monotonic() + _AWAY_AT_MOST)
    except HTTPError as refusal:
        sys.stderr.write(f"{orjson.loads(refusal.read())['error']['message']}\n")
        return 1
    except _NO_ANSWER as error:
        sys.stderr.write(f"No analytics answers at {_url(settings)}: {error}\n")
        return 1
    if found["run"] != run:
        sys.stderr.write("The process died before the run was noted: nothing was rebuilt. Give the command again.\n")
        return 1
    sys.stdout.write(f"done: {found['records']:,} records\n")
    return 0


def _asked_until(settings: AnalyticsSettings, deadline: float) -> dict[str, Any]:
    """A process that dies meanwhile goes on when it is back."""
    while True:
        try:
            return _asked(settings, HTTPMethod.GET, None)
        except HTTPError:
            raise
        except _NO_ANSWER:
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_EVERY)


def _asked(settings: AnalyticsSettings, method: HTTPMethod, body: dict[str, object] | None) -> dict[str, Any]:
    expires = SystemClock().now_ms() + LIFETIME_MS
    secret = settings.internal_secret.get_secret_value().encode()
    request = Request(  # noqa: S310 — http, of our own settings
        _url(settings),
        None if body is None else orjson.dumps(body),
        {HEADER: sign(Principal("", "operator", (SCOPE,), expires), secret)},
        method=method,
    )
    with urlopen(request, timeout=_ANSWER_WITHIN) as response:  # noqa: S310
        found: dict[str, Any] = orjson.loads(response.read())
    return found


def _url(settings: AnalyticsSettings) -> str:
    return f"http://{settings.host}:{settings.port}{PATH}"
