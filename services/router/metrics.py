"""What the router counts."""

from prometheus_client import Counter, Gauge, Histogram

DECISIONS = Counter("router_decisions", "Inputs by what they made of their message.", ["lane", "made"])
REPLAYS = Counter(
    "router_replays", "Inputs that were decided before a crash, so their outbox was emitted again.", ["lane"]
)
OVERDUE = Counter(
    "router_overdue_attempts", "Attempts without an outcome that the watchdog handed out again.", ["lane"]
)
WAITING = Gauge(
    "router_waiting_messages", "Messages that wait for a turn, a retry or a destination.", ["lane", "partition"]
)
SCHEDULED = Gauge(
    "router_scheduled_messages", "Messages that wait for the time that their client chose.", ["lane", "partition"]
)
IN_FLIGHT = Gauge("router_in_flight_messages", "Messages handed out, without an outcome yet.", ["lane", "partition"])
OLDEST_WAITING = Gauge("router_oldest_waiting_seconds", "Age of the oldest message that waits.", ["lane", "partition"])
BATCH = Histogram(
    "router_batch_seconds",
    "Time to decide one batch of inputs, without waiting for fresh tables.",
    ["lane"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)
STALE = Counter("router_stale_suppressions", "Batches put off because the suppressions were not fresh.")
FILES_DROPPED = Counter("router_dropped_files", "Local files that were removed and rebuilt, by cause.", ["cause"])
