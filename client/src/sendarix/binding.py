"""From one function that builds a call to a method of either client: no signature is written twice, and mypy sees both."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import update_wrapper
from inspect import Parameter, Signature, signature
from typing import Any, Concatenate, ParamSpec, TypeVar

from sendarix.exchange import Call, Listing
from sendarix.sessions import AsyncSession, Session

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


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

    def method(self: Resource, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._session.run(build(*args, **kwargs))

    return _documented(method, build)


def ask_async(build: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncResource, P], Coroutine[Any, Any, T]]:
    """The same, to be awaited."""

    async def method(self: AsyncResource, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._session.run(build(*args, **kwargs))

    return _documented(method, build)


def walk(build: Callable[P, Listing[T]]) -> Callable[Concatenate[Resource, P], Iterator[T]]:
    """A method that goes through the list, fetching pages as they are needed."""

    def method(self: Resource, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self._session.each(build(*args, **kwargs))

    return _documented(method, build)


def walk_async(build: Callable[P, Listing[T]]) -> Callable[Concatenate[AsyncResource, P], AsyncIterator[T]]:
    """The same, for `async for`."""

    def method(self: AsyncResource, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self._session.each(build(*args, **kwargs))

    return _documented(method, build)


def _documented(method: F, build: Callable[..., Any]) -> F:
    """For `help()`: the builder's words and parameters, with `self` before them."""
    told = signature(build)
    parameters = [Parameter("self", Parameter.POSITIONAL_ONLY), *told.parameters.values()]
    shown = told.replace(parameters=parameters, return_annotation=Signature.empty)  # Call[T] is not what comes back
    update_wrapper(method, build)
    method.__signature__ = shown  # type: ignore[attr-defined]  # what inspect looks for; typeshed does not know it
    return method
