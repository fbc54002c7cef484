"""Stand-ins for what handlers need of the outside: a claim log and an input log in memory, with faults on demand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from schemas.idempotency import Claim
from schemas.inputs import Submit
from schemas.mail import Lane
from schemas.tables import Project
from schemas.templates import Template, TemplateVersion
from services.ingest.domain.acceptance import Placed
from services.ingest.domain.parcels import Parcel
from services.ingest.domain.templates import Part, Rendered
from services.ingest.domain.unsubscribe import UnsubscribeLinks
from services.ingest.ports import Claimed

LINKS = UnsubscribeLinks("https://mail.example", {1: b"0123456789abcdef"})


class Died(Exception):
    """The process ended here: nothing of it runs any more."""


@dataclass(slots=True)
class Faults:
    """Strikes at the n-th step: before it has done anything, or right after."""

    strike_at: int = 0
    after: bool = False
    error: type[Exception] = Died
    steps: int = 0

    def before_step(self) -> None:
        self.steps += 1
        if self.steps == self.strike_at and not self.after:
            raise self.error("before")

    def after_step(self) -> None:
        if self.steps == self.strike_at and self.after:
            raise self.error("after")


@dataclass(slots=True)
class HandClock:
    """Stands still until it is moved."""

    ms: int = 1_790_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    async def sleep(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)


@dataclass(slots=True)
class Kafka:
    """What is in the log, for all replicas."""

    clock: HandClock
    holders: dict[str, Claimed] = field(default_factory=dict)
    submits: list[tuple[str, Submit, Placed]] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)  # what lies in object storage


@dataclass(slots=True)
class Inputs:
    """The port `Submissions`, of one replica."""

    kafka: Kafka
    faults: Faults
    turn: int = 0

    def place(self, lane: Lane) -> Placed:
        self.turn += 1
        return Placed(lane, self.turn % 12)

    def max_bytes(self, _: Lane) -> int:
        return 8_000_000

    def broker_now_ms(self) -> int:
        return self.kafka.clock.ms

    async def submit(self, project_id: str, submits: Sequence[Submit], place: Placed, *, within: float) -> None:
        self.faults.before_step()
        self.kafka.submits += [(project_id, submit, place) for submit in submits]
        self.faults.after_step()


@dataclass(slots=True)
class ClaimLog:
    """The port `IdempotencyLog`, of one replica. `seconds_to_done`: how long a wait for `done` takes, None for ever."""

    kafka: Kafka
    faults: Faults
    is_ready: bool = True
    waited: list[float] = field(default_factory=list)
    lags: bool = False  # the index has not seen the claims of others yet

    def ready(self) -> bool:
        return self.is_ready

    def holder(self, key: str) -> Claimed | None:
        return None if self.lags else self.kafka.holders.get(key)

    async def claim(self, key: str, project_id: str, claim: Claim, *, within: float) -> Claimed:
        self.faults.before_step()
        holder = self.kafka.holders.setdefault(key, Claimed(claim, self.kafka.clock.ms, done=False))
        self.faults.after_step()
        return holder

    async def wait_done(self, key: str, *, within: float) -> bool:
        self.waited.append(within)
        await self.kafka.clock.sleep(within)
        return self.kafka.holders[key].done

    def announce_done(self, key: str, project_id: str, claim_id: str) -> None:
        self.faults.before_step()
        self.kafka.holders[key] = replace(self.kafka.holders[key], done=True)
        self.faults.after_step()


@dataclass(slots=True)
class Directory:
    """The port `Senders`."""

    domains: set[str] = field(default_factory=lambda: {"shop.example"})
    default_from: str | None = "Shop <hello@shop.example>"

    def project(self, project_id: str) -> Project | None:
        return Project(
            id=project_id, name="p", default_from=self.default_from, created_at="2026-01-01T00:00:00.000Z"
        )  # fmt: skip

    def owns_domain(self, project_id: str, domain: str) -> bool:
        return domain in self.domains


@dataclass(slots=True)
class Storage:
    """The port `Contents`."""

    kafka: Kafka
    faults: Faults

    async def keep(self, parcel: Parcel) -> None:
        self.faults.before_step()
        self.kafka.blobs[parcel.blob.key] = parcel.data
        self.faults.after_step()


class NoTemplates:
    """The ports `Templates` and `Render`, where no mail has a template."""

    def find(self, project_id: str, name_or_id: str) -> Template | None:
        return None

    def version(self, template_id: str, number: int) -> TemplateVersion | None:
        return None

    async def render(self, parts: Mapping[Part, str], data: dict[str, Any]) -> Rendered:
        raise AssertionError("there is nothing to render")

    async def variables(self, parts: Mapping[Part, str]) -> list[str]:
        raise AssertionError("there is nothing to check")


class NoStorage:
    """The port `Contents`, where no mail is large."""

    async def keep(self, parcel: Parcel) -> None:
        raise AssertionError("there is nothing to store")


class NobodyAsks:
    """The port `Senders`, where a table must not be asked."""

    def project(self, project_id: str) -> Project | None:
        raise AssertionError("a replay asked a table")

    def owns_domain(self, project_id: str, domain: str) -> bool:
        raise AssertionError("a replay asked a table")
