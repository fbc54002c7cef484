"""What ingest counts. Labels are closed sets: a route's pattern, never a path; an outcome, never a key."""

from prometheus_client import Counter, Gauge, Histogram

requests = Counter(
    "ingest_requests_total",
    "HTTP requests answered, by route pattern, method and status.",
    ["route", "method", "status"],
)
accepted_messages = Counter("ingest_accepted_messages_total", "Messages answered with 202 for the first time.")
idempotent_requests = Counter(
    "ingest_idempotent_requests_total",
    "Requests with an idempotency key that got an answer: first, replayed, helped (the holder had not finished), reused "
    "(refused: another body).",
    ["outcome"],
)
append_seconds = Histogram(
    "ingest_append_seconds",
    "From handing a request's submissions to the producer until Kafka's ack.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
append_failures = Counter("ingest_append_failures_total", "Submissions that could not be confirmed in time (503).")
commands = Counter(
    "ingest_commands_total",
    "Commands (cancel, reschedule, release) by the router's verdict: done, refused, unknown_message, none (not in time).",
    ["kind", "verdict"],
)
command_seconds = Histogram(
    "ingest_command_seconds",
    "From a command to the router's verdict, where there was one.",
    buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 1.5, 2, 2.5),
)
unreadable_verdicts = Counter("ingest_unreadable_verdicts_total", "Verdicts that do not decode: passed over.")
stopped_renderings = Counter(
    "ingest_stopped_renderings_total",
    "Templates whose rendering was ended, by what it took too much of: time, memory, size.",
    ["of"],
)
store_seconds = Histogram(
    "ingest_store_seconds",
    "From handing large content to object storage until it has it.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
lapsed_domains = Counter(
    "ingest_lapsed_domains_total", "Domains whose DKIM records are gone: their mail is refused from now on."
)
store_failures = Counter("ingest_store_failures_total", "Large contents that could not be stored (503).")
swept_blobs = Counter("ingest_swept_blobs_total", "Blobs deleted because their day was over.")
turned_away = Counter("ingest_turned_away_total", "Large requests answered with 503, for no memory came free in time.")
large_body_bytes = Gauge("ingest_large_body_bytes", "Memory reserved for the bodies of large requests at hand.")
event_streams = Gauge("ingest_event_streams", "Event streams that are open (R35).")
ended_streams = Counter(
    "ingest_ended_event_streams_total",
    "Event streams that were ended here: for their key, or for the shutdown.",
    ["why"],
)
unreadable_claims = Counter(
    "ingest_unreadable_claims_total", "Records of the claim log that do not decode: passed over."
)
locally_counted_requests = Counter(
    "ingest_locally_counted_requests_total",
    "Requests counted by this replica alone, against its part of the limit, because Valkey is away (R14).",
)
