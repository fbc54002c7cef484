"""What analytics is told by its environment: `ANALYTICS_*` and `KAFKA_*`."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from chassis.settings import ServiceSettings
from schemas.topics import Duration


class AnalyticsSettings(ServiceSettings):
    """How long rows are kept is no setting of its own: it is the retention of their topic in `topics.yaml`."""

    model_config = SettingsConfigDict(env_prefix="ANALYTICS_", extra="ignore")

    # "chdb:///folder": the embedded engine, for one analytics on one machine. "http(s)://user:password@host:port":
    # a server. The database is made where it is missing.
    clickhouse_url: SecretStr = SecretStr("chdb:///var/lib/sendarix/analytics")
    clickhouse_database: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")] = "sendarix"
    internal_secret: SecretStr  # shared with ingest, which signs who is asking
    # An id this young, and unknown, is answered as queued: longer than the read side may be away.
    pending_window: Duration = timedelta(hours=24)
    # Most rows of one insert: its fixed cost is small beside them, and a read that waits for it still has its answer
    # within a second.
    batch_records: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    # From the beginning of one insert to the next. Each costs 20 ms of CPU and more however small it is, and its parts are
    # to be merged: without a pause a trickle of events would keep a core busy. What was sent is seen within two seconds.
    insert_every: Duration = timedelta(seconds=1)
    # How long the first event after a quiet time waits for others: a mail's whole life fits in when its server is near.
    insert_linger: Duration = timedelta(seconds=0.05)
    # A read that takes longer is answered 503; ingest gives up at about the same time.
    read_deadline: Duration = timedelta(seconds=5)
    # How often the log and ClickHouse are compared (R37). It costs a few counts of recent messages.
    ledger_every: Duration = timedelta(seconds=30)
