"""What a consumer tells of itself: how far behind each of its partitions is, and for how long it has not moved.

A partition without lag is never late, however long nothing has come. It must hold no series of a partition that is gone.
"""

from collections.abc import Iterable

from prometheus_client import Gauge

from chassis.clock import Clock

LAG = Gauge(
    "consumer_lag_records", "Records between what is done and the partition's end.", ["group", "topic", "partition"]
)
STALLED = Gauge(
    "consumer_stalled_seconds",
    "Time since the last progress, 0 where there is no lag.",
    ["group", "topic", "partition"],
)

Place = tuple[str, int]  # Kafka topic, partition


class Progress:
    """Of the partitions that one group member holds."""

    def __init__(self, group: str, clock: Clock) -> None:
        self._group = group
        self._clock = clock
        self._lags: dict[Place, int] = {}
        self._done: dict[Place, int] = {}
        self._moved_at: dict[Place, float] = {}

    def at(self, place: Place, done: int, end: int | None) -> None:
        """Everything below `done` is done; `end` is the partition's end as last seen."""
        if done != self._done.get(place):
            self._done[place] = done
            self._moved_at[place] = self._clock.monotonic()
        if place not in self._lags:
            STALLED.labels(self._group, place[0], str(place[1])).set_function(lambda: self.stalled(place))
        self._lags[place] = max(0, (done if end is None else end) - done)
        LAG.labels(self._group, place[0], str(place[1])).set(self._lags[place])

    def gone(self, places: Iterable[Place]) -> None:
        for place in places:
            if self._lags.pop(place, None) is not None:
                del self._done[place], self._moved_at[place]
                for gauge in (LAG, STALLED):
                    gauge.remove(self._group, place[0], str(place[1]))

    def lag(self) -> int:
        """Records behind, over all partitions."""
        return sum(self._lags.values())

    def stalled(self, place: Place) -> float:
        """Seconds without progress; 0 without lag."""
        if not self._lags.get(place):
            return 0.0
        return self._clock.monotonic() - self._moved_at[place]
