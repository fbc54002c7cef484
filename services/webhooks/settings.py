"""What webhooks is told by its environment: `WEBHOOKS_*` and `KAFKA_*`."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from chassis.sealing import Seals
from chassis.settings import Durations, ServiceSettings
from schemas.topics import Duration


class WebhooksSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="WEBHOOKS_", extra="ignore")

    port: int = 8084
    sealing_keys: SecretStr  # comma list, newest first; shared with ingest, which seals
    allow_loopback: bool = False  # for a stack on one machine; never in production
    # The schedule that Standard Webhooks gives as its example, and most senders keep: ten attempts in 75 h 35 min.
    retry_schedule: Annotated[Durations, Field(min_length=1)] = Field(
        default_factory=lambda: [
            timedelta(seconds=5),
            timedelta(minutes=5),
            timedelta(minutes=30),
            timedelta(hours=2),
            timedelta(hours=5),
            timedelta(hours=10),
            timedelta(hours=14),
            timedelta(hours=20),
            timedelta(hours=24),
        ]
    )
    # Retry-After and an open breaker stretch the schedule of 3 days; after a week nobody waits for an event any more.
    give_up_after: Duration = timedelta(days=7)
    # What a small receiver bears, and a usual one (100 ms) takes 100 events a second with.
    open_requests_per_endpoint: Annotated[int, Field(ge=1)] = 10
    # Of endpoints that name no rate of their own: more than a busy project's mail makes, three events each, and no flood.
    rate_per_second: Annotated[float, Field(gt=0)] = 500.0
    # Beyond it no endpoint gets a second request at a time: 20 endpoints may hang at full width before.
    open_requests: Annotated[int, Field(ge=1)] = 200
    # All of them are sockets: below the 1,024 that a process may have open where nobody raised it.
    most_open_requests: Annotated[int, Field(ge=1)] = 800

    @field_validator("sealing_keys")
    @classmethod
    def _usable(cls, value: SecretStr) -> SecretStr:
        seals_of(value)
        return value


def seals_of(keys: SecretStr) -> Seals:
    """Raises ValueError for a key that is none."""
    return Seals([key.strip() for key in keys.get_secret_value().split(",") if key.strip()])
