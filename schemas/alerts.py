"""Alerts (R34): the rules that projects set, and how each stands. Plain values: whether a rule holds is decided by analytics."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from schemas.envelope import Payload, Timestamp, by_type
from schemas.mail import Channel, Environment, Priority, Value
from schemas.routing import Versioned

# Messages that had such an event within the window, each counted once.
CountMeasure = Literal[
    "queued", "delivered", "deferred", "bounced", "complained", "unknown", "expired", "suppressed"
]  # fmt: skip
# Shares of messages, 0 to 1.
RateMeasure = Literal["bounce_rate", "complaint_rate", "deferral_rate", "delivery_rate"]
Measure = CountMeasure | RateMeasure
AlertStatus = Literal["ok", "raised", "unknown"]


class AlertFilters(Value):
    """Which messages are measured: all that is given must fit."""

    tag: str | None = None
    template: str | None = None
    recipient_domain: str | None = None
    provider_group: str | None = None
    channel: Channel | None = None
    path: str | None = None
    priority: Priority | None = None
    environment: Environment = "live"


class AlertCondition(Value):
    """One of `above`, `below` and `times`; that many times what the `baseline_seconds` before the window had."""

    above: float | None = None
    below: float | None = None
    times: float | None = None
    baseline_seconds: int | None = None  # with `times`


class AlertRule(Versioned):
    """Key: id (`alr_…`). `minimum`: messages below which nothing is concluded from a window."""

    TYPE: ClassVar[str] = "table.alert_rule"
    measure: Measure
    filters: AlertFilters = AlertFilters()
    window_seconds: int
    condition: AlertCondition
    minimum: int
    enabled: bool = True


class AlertState(Payload):
    """Key: rule id. How a rule stands, as of the last look at it that changed something, or is worth being shown.

    `pending` is the account event that this change makes, complete: whoever owns the state tells it, and then says so
    by the same state without it. So an episode is told once, with one content, whoever dies in between.
    """

    TYPE: ClassVar[str] = "table.alert_state"
    rule_id: str
    project_id: str
    state: AlertStatus
    since: Timestamp
    value: float | None  # null: too few messages to say
    threshold: float | None
    episode: int  # how often it has been raised
    evaluated_at: Timestamp
    pending: dict[str, Any] | None = Field(default=None)  # envelope of account-events


ALERT_RULES = by_type(AlertRule)
ALERT_STATES = by_type(AlertState)
