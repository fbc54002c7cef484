"""How far what can be read is behind the log, as this process knows it."""

from services.analytics.metrics import BEHIND


class Delay:
    def __init__(self) -> None:
        self._seconds = 0.0
        self._waiting = 0

    def told(self, seconds: float, waiting: int) -> None:
        """Of a batch: so old was its newest record when it could be read; or is its oldest, where so many wait."""
        self._seconds = seconds
        self._waiting = waiting
        BEHIND.set(seconds)

    def ms(self, lag: int) -> int:
        """With so many records to catch up with, beside those that wait: none where there are none."""
        return round(self._seconds * 1000) if lag or self._waiting else 0
