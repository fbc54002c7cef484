"""The two shells around one core: ask, let `decide` judge, wait, ask again. Whatever is not waiting or asking is elsewhere."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import httpx

from sendarix.errors import SendarixError, not_ours
from sendarix.exchange import Answer, Call, Listing, Outcome, Request, turn
from sendarix.retries import Policy, Verdict, Wait, decide
from sendarix.settings import Settings
from sendarix.surroundings import Surroundings
from sendarix.transport import answer_of, silence_of, written

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Core:
    """What a call needs beside a connection."""

    settings: Settings
    policy: Policy
    surroundings: Surroundings

    def judge(self, request: Request, outcome: Outcome, attempt: int) -> Verdict:
        jitter, now = self.surroundings.jitter(), self.surroundings.now()
        return decide(request, outcome, attempt, jitter=jitter, now=now, policy=self.policy)

    def keyed(self, request: Request) -> Request:
        """A change that may be repeated gets its idempotency key here, once for all attempts."""
        if request.method == "GET" or not request.repeatable or request.idempotency_key is not None:
            return request
        return replace(request, idempotency_key=self.surroundings.new_key())


def read(_: Call[T], answer: Answer) -> T:
    """The object that the call promises; None where it has no body. Raises SendarixError where it is no JSON."""
    try:
        return cast("T", answer.json() if answer.body else None)
    except json.JSONDecodeError as error:
        raise not_ours(answer) from error


class Session:
    """Carries out calls, one after the other."""

    def __init__(self, core: Core, http: httpx.Client, sleep: Callable[[float], None]) -> None:
        self._core = core
        self._http = http
        self._sleep = sleep

    def run(self, call: Call[T]) -> T:
        request = self._core.keyed(call.request)
        attempt = 0
        while True:
            match self._core.judge(request, self._ask(request), attempt):
                case Wait(seconds):
                    self._sleep(seconds)
                    attempt += 1
                case SendarixError() as error:
                    raise error
                case answer:
                    return read(call, answer)

    def each(self, listing: Listing[T]) -> Iterator[T]:
        rest: Listing[T] | None = listing
        while rest is not None:
            step = turn(rest, self.run(rest.call))
            yield from step.entries
            if step.pause:
                self._sleep(step.pause)
            rest = step.then

    def _ask(self, request: Request) -> Outcome:
        try:
            return answer_of(self._http.request(**written(self._core.settings, request)))
        except (httpx.TransportError, httpx.DecodingError) as error:
            return silence_of(error)


class AsyncSession:
    """Carries out calls, any number at a time."""

    def __init__(self, core: Core, http: httpx.AsyncClient, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._core = core
        self._http = http
        self._sleep = sleep

    async def run(self, call: Call[T]) -> T:
        request = self._core.keyed(call.request)
        attempt = 0
        while True:
            match self._core.judge(request, await self._ask(request), attempt):
                case Wait(seconds):
                    await self._sleep(seconds)
                    attempt += 1
                case SendarixError() as error:
                    raise error
                case answer:
                    return read(call, answer)

    async def each(self, listing: Listing[T]) -> AsyncIterator[T]:
        rest: Listing[T] | None = listing
        while rest is not None:
            step = turn(rest, await self.run(rest.call))
            for entry in step.entries:
                yield entry
            if step.pause:
                await self._sleep(step.pause)
            rest = step.then

    async def _ask(self, request: Request) -> Outcome:
        try:
            return answer_of(await self._http.request(**written(self._core.settings, request)))
        except (httpx.TransportError, httpx.DecodingError) as error:
            return silence_of(error)
