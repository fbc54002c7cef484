"""The two clients: where connection, core and resources are put together."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Self

import httpx

from sendarix.resources.alerts import Alerts, AsyncAlerts
from sendarix.resources.api_keys import ApiKeys, AsyncApiKeys
from sendarix.resources.dead_letters import AsyncDeadLetters, DeadLetters
from sendarix.resources.domains import AsyncDomains, Domains
from sendarix.resources.events import AsyncEvents, Events
from sendarix.resources.ledger import AsyncLedger, Ledger
from sendarix.resources.messages import AsyncMessages, Messages
from sendarix.resources.metrics import AsyncMetrics, Metrics
from sendarix.resources.policies import AsyncPolicies, Policies
from sendarix.resources.queues import AsyncQueues, Queues
from sendarix.resources.routes import AsyncRoutes, Routes
from sendarix.resources.sandbox import AsyncSandbox, Sandbox
from sendarix.resources.suppressions import AsyncSuppressions, Suppressions
from sendarix.resources.templates import AsyncTemplates, Templates
from sendarix.resources.upstreams import AsyncUpstreams, Upstreams
from sendarix.resources.webhooks import AsyncWebhooks, Webhooks
from sendarix.retries import Policy
from sendarix.sessions import AsyncSession, Core, Session
from sendarix.settings import read_settings
from sendarix.surroundings import Surroundings
from sendarix.transport import connection_options

TIMEOUT = 30.0  # seconds for one attempt; the server gives up earlier, and then it says 503
_POLICY = Policy()
_SURROUNDINGS = Surroundings()


class Sendarix:
    """`with Sendarix() as client: client.messages.send({…})`. May be shared by threads."""

    def __init__(
        self,
        api_key: str | None = None,
        *,
        url: str | None = None,
        timeout: float = TIMEOUT,
        policy: Policy = _POLICY,
        transport: httpx.BaseTransport | None = None,
        surroundings: Surroundings = _SURROUNDINGS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        settings = read_settings(api_key, url)
        self._http = httpx.Client(transport=transport, **connection_options(settings, timeout))
        session = Session(Core(settings, policy, surroundings), self._http, sleep)
        self.messages = Messages(session)
        self.events = Events(session)
        self.metrics = Metrics(session)
        self.ledger = Ledger(session)
        self.dead_letters = DeadLetters(session)
        self.alerts = Alerts(session)
        self.templates = Templates(session)
        self.suppressions = Suppressions(session)
        self.domains = Domains(session)
        self.webhooks = Webhooks(session)
        self.api_keys = ApiKeys(session)
        self.sandbox = Sandbox(session)
        self.routes = Routes(session)
        self.upstreams = Upstreams(session)
        self.policies = Policies(session)
        self.queues = Queues(session)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncSendarix:
    """`async with AsyncSendarix() as client: await client.messages.send({…})`. Belongs to one event loop."""

    def __init__(
        self,
        api_key: str | None = None,
        *,
        url: str | None = None,
        timeout: float = TIMEOUT,
        policy: Policy = _POLICY,
        transport: httpx.AsyncBaseTransport | None = None,
        surroundings: Surroundings = _SURROUNDINGS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        settings = read_settings(api_key, url)
        self._http = httpx.AsyncClient(transport=transport, **connection_options(settings, timeout))
        session = AsyncSession(Core(settings, policy, surroundings), self._http, sleep)
        self.messages = AsyncMessages(session)
        self.events = AsyncEvents(session)
        self.metrics = AsyncMetrics(session)
        self.ledger = AsyncLedger(session)
        self.dead_letters = AsyncDeadLetters(session)
        self.alerts = AsyncAlerts(session)
        self.templates = AsyncTemplates(session)
        self.suppressions = AsyncSuppressions(session)
        self.domains = AsyncDomains(session)
        self.webhooks = AsyncWebhooks(session)
        self.api_keys = AsyncApiKeys(session)
        self.sandbox = AsyncSandbox(session)
        self.routes = AsyncRoutes(session)
        self.upstreams = AsyncUpstreams(session)
        self.policies = AsyncPolicies(session)
        self.queues = AsyncQueues(session)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
