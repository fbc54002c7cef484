"""What the router is told by its environment (`ROUTER_*`, `KAFKA_*`)."""

from datetime import timedelta
from math import ceil
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from chassis.settings import Durations, ServiceSettings
from schemas.topics import POOLS, Duration


class RouterSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="ROUTER_", extra="ignore")

    port: int = 8082
    # The documented ladder (R22): one attempt more than waits, then the mail has bounced.
    retry_schedule: Annotated[Durations, Field(min_length=1)] = Field(
        default_factory=lambda: [
            timedelta(seconds=30),
            timedelta(minutes=5),
            timedelta(minutes=30),
            timedelta(hours=2),
            timedelta(hours=5),
        ]
    )
    # How long a closed message is still known: late bounces and complaints come within 30 days (R24).
    feedback_window: Duration = timedelta(days=30)
    # The senders that carry out what names no pool; a pool is a topic.
    pool: str = "main"
    # Of mail that no rule fits: the smarthost of the senders' environment, `mx:<pool>`, or an upstream's id.
    default_path: Annotated[str, Field(pattern=r"^(upstream|mx:.+|ups_.+)$")] = "upstream"
    # Deliveries in flight per provider group and lane, in equal shares of its partitions (100 of each of twelve): so many
    # that what senders can take is at hand, since mail that waits costs an input and a state more; few enough that what
    # is behind a group that stands still waits here, where it is ordered, counted and can be stopped.
    admission_window: Annotated[int, Field(ge=1)] = 1200
    # An attempt takes 11 minutes at most (60 s to the dot, 10 min for its reply); an hour without a word is a fault.
    watchdog_after: Duration = timedelta(hours=1)

    def partition_window(self, partitions: int) -> int:
        """The share that each of so many `partitions` has of `admission_window`: one at least."""
        return ceil(self.admission_window / partitions)

    @field_validator("pool")
    @classmethod
    def _has_topics(cls, pool: str) -> str:
        if pool not in POOLS:
            raise ValueError(f"SENDARIX_POOLS has no {pool!r}: name it there, for all services and the provisioner")
        return pool

    @field_validator("default_path")
    @classmethod
    def _has_a_pool(cls, path: str) -> str:
        if path.startswith("mx:"):
            cls._has_topics(path.removeprefix("mx:"))
        return path
