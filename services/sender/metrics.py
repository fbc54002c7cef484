"""What the sender measures, each with its sentence."""

from prometheus_client import Counter, Gauge, Histogram

_STEPS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600)

ATTEMPTS = Counter(
    "sender_attempts", "Attempts that ended, by outcome and the phase they ended in.", ["outcome", "phase"]
)
STEP_SECONDS = Histogram(
    "sender_step_seconds",
    "Duration of each step of an attempt: way, wait, claim, smtp, record, report.",
    ["step"],
    buckets=_STEPS,
)
POSTPONED = Counter("sender_postponed_deliveries", "Deliveries handed back without using an attempt.", ["reason"])
REFUSED = Counter("sender_refused_deliveries", "Deliveries stopped because their recipient is suppressed.")
EXPIRED = Counter("sender_expired_deliveries", "Deliveries stopped because their time was over.")
VOID = Counter("sender_void_deliveries", "Deliveries that landed after their time and were passed over.")
RETOLD = Counter("sender_retold_attempts", "Attempts of an earlier owner whose end was reported again.", ["outcome"])
CONTENT_UNAVAILABLE = Counter(
    "sender_content_unavailable",
    "Attempts that ended because large content could not be had: away (storage does not answer), missing (it should be "
    "there), gone (its time was over).",
    ["reason"],
)
UNUSABLE_KEYS = Counter(
    "sender_unusable_signing_keys", "DKIM keys that no sealing key opens, or that are none: their mail goes unsigned."
)
CONTENT_BYTES = Gauge("sender_content_bytes", "Memory reserved for large content at hand.")
IN_FLIGHT = Gauge("sender_deliveries_in_flight", "Deliveries being worked on, waiting ones included.")
WAITING = Gauge("sender_waiting_deliveries", "Deliveries that wait for a slot.", ["path", "group"])
OPEN = Gauge("sender_open_slots", "Transactions under way.", ["path", "group"])
LIMIT = Gauge("sender_slots_limit", "Transactions allowed at once now, as learned.", ["path", "group"])
CLOSED = Gauge("sender_closed_groups", "Groups where nothing starts for a while.", ["path", "group"])
SLOWED = Counter("sender_slowdowns", "Times that a reply, or silence, slowed a group down.", ["path", "group"])
CONNECTIONS_OPENED = Counter("sender_connections_opened", "SMTP connections set up.", ["path"])
CONNECTIONS_REUSED = Counter(
    "sender_connections_reused", "Transactions on a connection that had carried one before.", ["path"]
)
CONNECTIONS_FAILED = Counter(
    "sender_connections_failed", "SMTP connections that could not be set up.", ["path", "phase"]
)
JOURNAL_REREADS = Counter("sender_journal_rereads", "Times a journal partition was read again from an earlier time.")
JOURNAL_MALFORMED = Counter("sender_journal_malformed_records", "Journal records that can not be read; passed over.")
DNS_FAILED = Counter("sender_dns_failures", "DNS questions that nobody answered in time, or all refused to.", ["type"])
MTA_STS = Counter(
    "sender_mta_sts",
    "Looks at a domain's MTA-STS policy by its mode (enforce, testing, none), and whether its MX fit (ok, mismatch).",
    ["mode", "result"],
)
DANE = Counter("sender_dane", "Looks for a mail server's TLSA records (usable, unusable, none, failed).", ["result"])
MTA_STS_FETCHES = Counter("sender_mta_sts_fetches", "Policies fetched, by result (ok, failed, malformed).", ["result"])
DESTINATIONS_TOLD = Counter("sender_destinations_published", "Provider groups of destinations told to the routers.")
