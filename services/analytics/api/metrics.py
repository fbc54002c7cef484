"""`/v1/metrics`: how much, how well, how fast (R33)."""

from collections.abc import Callable

from fastapi import APIRouter, Response

from chassis.clock import Clock
from chassis.http import json_response
from services.analytics.api.asking import Asked, ProjectId
from services.analytics.domain.metrics import metrics_query, metrics_view
from services.analytics.ports import MetricReads


def metric_routes(reads: MetricReads, clock: Clock, behind_ms: Callable[[], int]) -> APIRouter:
    """`behind_ms`: how far what can be read is behind the log."""
    router = APIRouter()

    @router.get("/metrics")
    async def metrics(project_id: ProjectId, asked: Asked) -> Response:
        query = metrics_query(asked, clock.now_ms())
        behind = behind_ms()  # before the question: what it does not see yet is no younger
        return json_response(metrics_view(query, await reads.metrics(project_id, query), behind))

    return router
