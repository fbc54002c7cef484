"""How far what can be read is behind the log, as this process knows it."""

from services.analytics.metrics import BEHIND


class Delay:
    def __init__(self) -> None:
        self._seconds = 0.0

    def told(self, seconds: float) -> None:
        """So old was the newest record of an insert when it could be read."""
        self._seconds = seconds
        BEHIND.set(seconds)

    def ms(self, lag: int) -> int:
        """With so many records to catch up with: none where there are none."""
        return round(self._seconds * 1000) if lag else 0
