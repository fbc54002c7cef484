"""Who uses the API: requests that are repeated until they are answered, and an address that goes on and off the list.

A client knows only what it was answered; that is what the verdict holds against the mail server and the events.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from chassis.log import LogUnavailable
from services.ingest.domain.faults import Refused
from services.ingest.handlers import SendRequest
from tests.simulation.ingest import CALLER, IngestProcess

RECIPIENTS = tuple(f"r{n}@d{n % 2}.example" for n in range(5))
_PATIENCE = 30.0  # seconds until a client takes a request that is not answered for lost
_MAY_LAND_LATE_MS = 700_000  # what was asked for and not answered, by a frozen process or an append in doubt


@dataclass(slots=True)
class Listing:
    """From the answer on (ms, broker time) until somebody asks for the removal: nothing to it may start."""

    recipient: str
    answered_ms: int
    removed_ms: int | None = None


@dataclass(slots=True)
class Clients:
    random: Random
    now_ms: Callable[[], int]
    ingests: Callable[[], list[IngestProcess]]
    told: dict[str, str] = field(default_factory=dict)  # message id to the request's name
    answers: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))  # of requests with a key
    listings: list[Listing] = field(default_factory=list)
    removals: dict[str, float] = field(default_factory=dict)  # until when (ms) one of this address may still land
    faults: list[str] = field(default_factory=list)
    open: int = 0  # requests on their way
    on_told: Callable[[str], None] = lambda message_id: None  # a client has learned of this message

    async def send(self, name: str, *, keyed: bool, at: float) -> None:
        """One mail. With a key it is asked for until it is answered, sometimes twice at once; without one, once."""
        self.open += 1
        await asyncio.sleep(at)
        several = self.random.random() < 0.25
        to: Any = self.random.sample(RECIPIENTS, 2) if several else self.random.choice(RECIPIENTS)
        body = {"recipient": to, "subject": name, "text": "t", "metadata": {"request": name}}
        while True:
            times = 2 if keyed and self.random.random() < 0.4 else 1
            tries = [self._try(name, body, keyed=keyed) for _ in range(times)]
            answered = await asyncio.gather(*tries)
            if any(answered) or not keyed:
                break
            await asyncio.sleep(self.random.choice([0.1, 1, 30, 2000]) * self.random.random())
        if keyed and self.random.random() < 0.3:  # much later, still within the window
            await asyncio.sleep(self.random.uniform(1, 30_000))
            await self._try(name, body, keyed=True)
            await self._reuse(name, {**body, "subject": "another"})
        self.open -= 1

    async def _try(self, name: str, body: dict[str, Any], *, keyed: bool) -> bool:
        ingest = self._any_ingest()
        if ingest is None:
            return False
        request = SendRequest(CALLER, orjson.dumps(body), [name] if keyed else [])
        answer = await self._answer_of(ingest, ingest.accept(request))
        if answer is None:
            return False
        found = orjson.loads(answer.body)
        for message in found.get("messages", [found]):
            if message["message_id"] not in self.told:
                self.told[message["message_id"]] = name
                self.on_told(message["message_id"])
        if keyed:
            self.answers[name].add(answer.body)
        return True

    async def _reuse(self, name: str, body: dict[str, Any]) -> None:
        ingest = self._any_ingest()
        if ingest is not None:
            request = SendRequest(CALLER, orjson.dumps(body), [name])
            if await self._answer_of(ingest, ingest.accept(request)) is not None:
                self.faults.append(f"{name}: another body was accepted under the same key (I2)")

    async def suppress(self, recipient: str) -> None:
        ingest = self._any_ingest()
        if ingest is None:
            return
        began = self.now_ms()
        listing = await self._answer_of(ingest, ingest.suppressions.add(CALLER, {"recipient": recipient}))
        alone = self.removals.get(recipient, 0) < began  # else the two are decided by the log's order
        if listing is not None and alone:
            self.listings.append(Listing(recipient, self.now_ms()))

    async def unsuppress(self, recipient: str) -> None:
        ingest = self._any_ingest()
        if ingest is None:
            return
        self.end_listings(recipient)
        self.removals[recipient] = float("inf")
        answer = await self._answer_of(ingest, ingest.suppressions.remove(CALLER, recipient))
        self.removals[recipient] = self.now_ms() + (_MAY_LAND_LATE_MS if answer is None else 0)

    def end_listings(self, recipient: str) -> None:
        for listing in self.listings:
            if listing.recipient == recipient and listing.removed_ms is None:
                listing.removed_ms = self.now_ms()

    async def _answer_of(self, ingest: IngestProcess, work: Any) -> Any:
        """None where there is none: refused, unavailable, or the process is gone."""

        async def ask() -> Any:
            try:
                await ingest.process.gate()
                return await work
            except (Refused, LogUnavailable) as error:
                if getattr(error, "status", 503) not in {404, 422, 503}:
                    raise
                return None
            finally:
                work.close()

        asking = ingest.process.spawn(ask())
        await asyncio.wait([asking], timeout=_PATIENCE)
        if not asking.done() or asking.cancelled() or asking.exception() is not None:
            return None
        return asking.result()

    def _any_ingest(self) -> IngestProcess | None:
        found = self.ingests()
        return self.random.choice(found) if found else None
