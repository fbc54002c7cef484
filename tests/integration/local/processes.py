"""Watching processes that are not our children."""

import time
from collections.abc import Callable


def becomes_true(condition: Callable[[], object], within: float = 15) -> bool:
    """Whether the condition came true within so many seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
