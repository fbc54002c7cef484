"""`/v1/sandbox/messages`: the mails that test keys sent, as a mailbox would hold them."""

from sendarix.binding import AsyncResource, Resource, ask, ask_async, walk, walk_async
from sendarix.exchange import Call, Listing, Request, path_of, query_of
from sendarix.sessions import AsyncSession, Session
from sendarix.shapes import SandboxMail


def listed(*, recipient: str | None = None) -> Listing[SandboxMail]:
    """Newest first."""
    query = query_of({"recipient": recipient})
    return Listing(Request("GET", path_of("sandbox", "messages"), query=query))


def get(message_id: str) -> Call[SandboxMail]:
    """With its header fields, bodies and bytes."""
    return Call(Request("GET", path_of("sandbox", "messages", message_id)))


class SandboxMessages(Resource):
    """`client.sandbox.messages`."""

    list = walk(listed)
    get = ask(get)


class AsyncSandboxMessages(AsyncResource):
    """`client.sandbox.messages`, awaited."""

    list = walk_async(listed)
    get = ask_async(get)


class Sandbox:
    """`client.sandbox`."""

    def __init__(self, session: Session) -> None:
        self.messages = SandboxMessages(session)


class AsyncSandbox:
    """`client.sandbox`, awaited."""

    def __init__(self, session: AsyncSession) -> None:
        self.messages = AsyncSandboxMessages(session)
