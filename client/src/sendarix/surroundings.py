"""The clock and the randomness of a client: the only place of the package where either is read."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass


def _jitter() -> float:
    return secrets.randbelow(1_000_001) / 1_000_000


def _new_key() -> str:
    return f"call_{secrets.token_hex(16)}"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`now`: Unix seconds; `jitter`: 0 to 1 s; `new_key`: an idempotency key that nobody has used."""

    now: Callable[[], float] = time.time
    jitter: Callable[[], float] = _jitter
    new_key: Callable[[], str] = _new_key
