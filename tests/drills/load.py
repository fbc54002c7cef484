"""A client that sends mail while things break, and keeps its own log of what it was told: the first of the three sides.

It does what the API asks of clients: a keyed request is repeated until it is answered, one without a key never is.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Self

import aiohttp

from tests.kit.stack import Stack

BODY = "canary-of-the-body"
SUBJECT = "canary-of-the-subject"
PRIORITIES = ("normal", "critical", "bulk", "high")  # both lanes, all tiers
_ANSWER_WITHIN = 10.0  # seconds; ingest answers within 2.5 s of the body, a killed one never
_AGAIN_AFTER = 0.3  # seconds

Answer = tuple[int, Mapping[str, Any], Mapping[str, str]]


@dataclass(slots=True)
class ClientLog:
    """What the client knows. Recipients name requests: each has one of its own."""

    accepted: dict[str, str] = field(default_factory=dict)  # recipient by message id
    unanswered: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Load:
    """`prefix` sets its recipients apart from every other load's. `keyed`, `refused`, `suppressed`: shares of requests."""

    stack: Stack
    random: Random
    prefix: str
    keyed: float = 0.5
    refused: float = 0.02
    suppressed: float = 0.02
    log: ClientLog = field(default_factory=ClientLog)
    begun: int = 0
    _http: aiohttp.ClientSession | None = None
    _urls: list[str] = field(default_factory=list)
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        description = self.stack.description
        self._urls = list(description["ingest"])
        headers = {"Authorization": f"Bearer {description['keys']['live']}"}
        timeout = aiohttp.ClientTimeout(total=_ANSWER_WITHIN)
        self._http = aiohttp.ClientSession(headers=headers, timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()  # where the drill has failed before its load was over
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert self._http is not None
        await self._http.close()

    def begin(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """`run` or `flow` beside the drill; it ends with it at the latest."""
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    def owns(self, recipient: str) -> bool:
        return recipient.startswith(f"{self.prefix}-")

    async def run(self, count: int, *, at_once: int = 20) -> None:
        """That many requests."""
        slots = asyncio.Semaphore(at_once)

        async def one() -> None:
            async with slots:
                await self.request()

        await asyncio.gather(*(one() for _ in range(count)))

    async def flow(self, per_second: float, enough: asyncio.Event) -> None:
        """Requests begin at this rate, however slow their answers are, until there are enough."""
        async with asyncio.TaskGroup() as under_way:
            while not enough.is_set():
                under_way.create_task(self.request())
                await asyncio.sleep(self.random.expovariate(per_second))

    async def request(self) -> None:
        """One mail, or one that must be refused, or one to somebody who has just been suppressed."""
        number, dice = self.begun, self.random.random()
        self.begun += 1
        recipient = f"{self.prefix}-{number}@d{number % 7}.example"
        body = {
            "recipient": recipient,
            "subject": SUBJECT,
            "text": f"{BODY} {number}",
            "priority": PRIORITIES[number % 4],
        }
        if dice < self.refused:
            await self._refused(recipient, body)
            return
        if dice < self.refused + self.suppressed:
            self.log.refused.add(recipient)
            await self._until("/v1/suppressions", {"recipient": recipient}, 201, {})
        if self.random.random() < self.keyed:
            await self._keyed(recipient, body)
        else:
            await self._once(recipient, body)

    async def _refused(self, recipient: str, body: dict[str, str]) -> None:
        self.log.refused.add(recipient)
        await self._until("/v1/messages", {**body, "subject": "x\r\nBcc: b@example.org"}, 422, {})

    async def _keyed(self, recipient: str, body: dict[str, str]) -> None:
        headers = {"Idempotency-Key": f"key-of-{recipient}"}
        first = await self._until("/v1/messages", body, 202, headers)
        self.log.accepted[first["message_id"]] = recipient
        if self.random.random() < 0.1:
            again = await self._until("/v1/messages", body, 202, headers)
            if again != first:
                self.log.faults.append(f"{first['message_id']}: the key's replay says {again} (I2)")

    async def _once(self, recipient: str, body: dict[str, str]) -> None:
        self.log.unanswered.add(recipient)  # until we know better
        answer = await self._post("/v1/messages", body, {})
        if answer is not None and answer[0] == 202:
            self.log.accepted[answer[1]["message_id"]] = recipient
            self.log.unanswered.discard(recipient)

    async def _until(self, path: str, body: object, status: int, headers: Mapping[str, str]) -> Mapping[str, Any]:
        """Repeat the request until it is answered so."""
        while True:
            answer = await self._post(path, body, headers)
            if answer is not None and answer[0] == status:
                return answer[1]
            await asyncio.sleep(_AGAIN_AFTER)

    async def _post(self, path: str, body: object, headers: Mapping[str, str]) -> Answer | None:
        """An answer; None where there was none. A replica that does not listen was not asked: the next one is."""
        assert self._http is not None
        for url in self.random.sample(self._urls, len(self._urls)):
            try:
                async with self._http.post(url + path, json=body, headers=headers) as response:
                    answer: Answer = (response.status, await response.json(), response.headers)
            except aiohttp.ClientConnectorError:
                self.log.statuses["not listening"] += 1
            except (aiohttp.ClientError, TimeoutError):
                self.log.statuses["no answer"] += 1
                return None
            else:
                self._judge(answer)
                return answer
        return None

    def _judge(self, answer: Answer) -> None:
        status, content, headers = answer
        self.log.statuses[str(status)] += 1
        if status == 503 and "Retry-After" not in headers:
            self.log.faults.append(f"503 without Retry-After: {content}")
        if status not in {201, 202, 422, 503}:
            self.log.faults.append(f"{status} to a good request: {content}")
