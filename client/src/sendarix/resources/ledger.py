"""`/v1/ledger`: what became of everything accepted, hour by hour, counted from two sides."""

from sendarix.binding import AsyncResource, Resource, ask, ask_async
from sendarix.exchange import Call, Request, path_of, query_of
from sendarix.shapes import Ledger as Balance
from sendarix.shapes import Moment


def get(*, since: Moment | None = None, until: Moment | None = None) -> Call[Balance]:
    """The whole hours that these touch, newest first; the last 24 by default, 31 days at most."""
    return Call(Request("GET", path_of("ledger"), query=query_of({"since": since, "until": until})))


class Ledger(Resource):
    """`client.ledger`."""

    get = ask(get)


class AsyncLedger(AsyncResource):
    """`client.ledger`, awaited."""

    get = ask_async(get)
