"""What webhooks counts."""

from prometheus_client import Counter, Gauge, Histogram

FANNED_OUT = Counter("webhooks_deliveries", "Deliveries made of events: one per event and endpoint that wants it.")
REPLAYED = Counter("webhooks_replayed_deliveries", "Deliveries made of events that somebody has replayed.")
ATTEMPTS = Counter("webhooks_attempts", "Requests to endpoints, by what they came to.", ["outcome"])
ATTEMPT_SECONDS = Histogram(
    "webhooks_attempt_seconds",
    "Time from a request's start to the end of its answer.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15),
)
CLOSED = Counter("webhooks_closed_deliveries", "Deliveries closed without a request, by cause.", ["cause"])
UNOPENED = Counter("webhooks_unopened_secrets", "Attempts put off because no sealing key opens the endpoint's secret.")
UNRECORDED = Counter("webhooks_unrecorded_attempts", "Requests whose result is not in the log: they are made again.")
PENDING = Gauge("webhooks_pending_deliveries", "Deliveries of this process that are not closed yet.")
OLDEST_PENDING = Gauge("webhooks_oldest_pending_seconds", "Age of the oldest event that is not delivered yet.")
OPEN_REQUESTS = Gauge("webhooks_open_requests", "Requests to endpoints that run now.")
BREAKERS = Gauge("webhooks_breakers", "Endpoints by the state of their breaker.", ["state"])
