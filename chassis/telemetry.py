"""Logs and traces: one JSON object per line on standard error, and the `traceparent` that ties hops together.

Never a key, a body or a whole address of somebody else's user: log ids, and `masked()` addresses.
"""

import logging
import secrets
import sys
from contextvars import ContextVar

import structlog

Logger = structlog.stdlib.BoundLogger

# W3C Trace Context of the work at hand; copied into the headers of every record it causes.
traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
# The id of the HTTP request at hand: it stands on every line that is logged for it. A variable of our own, for structlog's
# cost six times as much to set, and a service that logs nothing sets it with every request.
request_at_hand: ContextVar[str | None] = ContextVar("request_at_hand", default=None)


def configure_logging(service: str, instance: str, level: str) -> None:
    """Route structlog and the standard library's loggers to the same JSON lines."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _with_request,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # aiokafka tells each rebalance and retry at info; what matters of it we say ourselves.
    logging.getLogger("aiokafka").setLevel(logging.ERROR if level != "debug" else logging.DEBUG)
    structlog.contextvars.bind_contextvars(service=service, instance=instance)


def _with_request(
    logger: structlog.typing.WrappedLogger, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    del logger, method
    if (request_id := request_at_hand.get()) is not None:
        event.setdefault("request_id", request_id)
    return event


def logger(name: str) -> Logger:
    """A logger whose events are short names (`batch_committed`) and whose facts are fields."""
    bound: Logger = structlog.stdlib.get_logger(name)
    return bound


def masked(address: str) -> str:
    """An address fit for a log line: `j***@example.com`."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}***{at}{domain}" if at else "***"


def new_traceparent() -> str:
    """A fresh, sampled W3C `traceparent`."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
