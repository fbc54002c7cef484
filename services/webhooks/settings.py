"""What the webhooks service is told by its environment (`WEBHOOKS_*`, `KAFKA_*`)."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from chassis.settings import Durations, ServiceSettings, Words
from schemas.topics import Duration


class WebhooksSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="WEBHOOKS_", extra="ignore")

    port: int = 8084
    # The keys that ingest seals endpoint secrets with, newest first.
    sealing_keys: Annotated[Words, Field(min_length=1)]
    # http and loopback endpoints: for one machine only, where a receiver runs beside it.
    allow_loopback: bool = False
    # The example schedule of Standard Webhooks: 75 h 35 min in all, over a weekend.
    retry_schedule: Annotated[Durations, Field(min_length=1)] = Field(
        default_factory=lambda: [
            timedelta(seconds=5),
            timedelta(minutes=5),
            timedelta(minutes=30),
            *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
        ]
    )
    # Standard Webhooks asks for 15 to 30 s; connecting is a matter of round trips.
    timeout: Duration = timedelta(seconds=15)
    connect_timeout: Duration = timedelta(seconds=5)
    # One endpoint may hold this many requests: enough for 100/s at 100 ms.
    endpoint_concurrency: Annotated[int, Field(ge=1)] = 10
    # … and all of them this many sockets.
    concurrency: Annotated[int, Field(ge=1)] = 200
