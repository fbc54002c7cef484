"""`/v1/metrics`: how much mail went out, how well and how fast."""

from collections.abc import Sequence
from typing import Unpack

from sendarix.binding import AsyncResource, Resource, ask, ask_async
from sendarix.exchange import Call, Request, path_of, query_of
from sendarix.shapes import MetricsAnswer, MetricsFilters, MetricsInterval, Moment


def get(
    *,
    since: Moment | None = None,
    until: Moment | None = None,
    interval: MetricsInterval | None = None,
    time_zone: str | None = None,
    group_by: Sequence[str] = (),
    **filters: Unpack[MetricsFilters],
) -> Call[MetricsAnswer]:
    """By the hour of the last day unless it is said otherwise. A message counts once per kind of event and interval."""
    asked = {"since": since, "until": until, "interval": interval, "time_zone": time_zone}
    query = query_of({**asked, "group_by": list(group_by) or None, **filters})
    return Call(Request("GET", path_of("metrics"), query=query))


class Metrics(Resource):
    """`client.metrics`."""

    get = ask(get)


class AsyncMetrics(AsyncResource):
    """`client.metrics`, awaited."""

    get = ask_async(get)
