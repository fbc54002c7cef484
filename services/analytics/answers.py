"""What the store says within one look at the rules: what several of them ask is asked once.

It must not outlive its look: the next one is to see what has come meanwhile.
"""

from collections.abc import Hashable

from services.analytics.domain.metrics import MetricsQuery, MetricsRow
from services.analytics.ports import MetricReads


class Answers:
    """`services.analytics.ports.MetricReads`, for questions about totals."""

    def __init__(self, numbers: MetricReads) -> None:
        self._numbers = numbers
        self._known: dict[Hashable, list[MetricsRow]] = {}

    async def metrics(self, project_id: str, query: MetricsQuery) -> list[MetricsRow]:
        asked = (project_id, *query.starts, query.until_ms, *query.filters.items())
        if asked not in self._known:
            self._known[asked] = await self._numbers.metrics(project_id, query)
        return self._known[asked]
