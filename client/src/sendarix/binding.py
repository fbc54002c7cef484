"""From one function that builds a call to a method of either client: no signature is written twice, and mypy sees both."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sendarix.exchange import Call, Listing
from sendarix.sessions import AsyncSession, Session

P = ParamSpec("P")
T = TypeVar("T")


class Resource:
    """What the synchronous client's resources have in common."""

    def __init__(self, session: Session) -> None:
        self._session = session


class AsyncResource:
    """What the asynchronous client's resources have in common."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session


def ask(build: Callable[P, Call[T]]) -> Callable[Concatenate[Resource, P], T]:
    """A method that carries out the call."""

    @wraps(build)
    def method(self: Resource, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._session.run(build(*args, **kwargs))

    return method


def ask_async(build: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncResource, P], Coroutine[Any, Any, T]]:
    """The same, to be awaited."""

    @wraps(build)
    async def method(self: AsyncResource, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._session.run(build(*args, **kwargs))

    return method


def walk(build: Callable[P, Listing[T]]) -> Callable[Concatenate[Resource, P], Iterator[T]]:
    """A method that goes through the list, fetching pages as they are needed."""

    @wraps(build)
    def method(self: Resource, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self._session.each(build(*args, **kwargs))

    return method


def walk_async(build: Callable[P, Listing[T]]) -> Callable[Concatenate[AsyncResource, P], AsyncIterator[T]]:
    """The same, for `async for`."""

    @wraps(build)
    def method(self: AsyncResource, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self._session.each(build(*args, **kwargs))

    return method
