"""What the webhooks service counts."""

from prometheus_client import Counter, Gauge, Histogram

DELIVERIES_MADE = Counter("webhooks_deliveries_made", "Deliveries that fan-out made of events.")
ATTEMPTS = Counter("webhooks_attempts", "Requests to endpoints, by what came of them.", ["outcome"])
ATTEMPT_SECONDS = Histogram("webhooks_attempt_seconds", "Time from the request's start to its answer or failure.")
POSTPONED = Counter("webhooks_postponed", "Deliveries put off without an attempt, by reason.", ["reason"])
PENDING = Gauge("webhooks_pending", "Deliveries that are not over, in the partitions of this process.")
OLDEST_SECONDS = Gauge("webhooks_oldest_pending_seconds", "Age of the oldest delivery that is not over.")
RUNNING = Gauge("webhooks_requests_running", "Requests under way.")
OPEN_BREAKERS = Gauge("webhooks_open_breakers", "Endpoints that are left alone for a while, for they mostly fail.")
