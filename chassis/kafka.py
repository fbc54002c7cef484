"""How every Kafka client of a process reaches the brokers: who, how long, and again until they answer."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from aiokafka.errors import KafkaError
from aiokafka.helpers import create_ssl_context

from chassis.settings import KafkaSettings
from chassis.telemetry import logger

_log = logger("kafka")
_RETRY = 0.2  # seconds between two attempts to connect
_ATTEMPTS_PER_LINE = 25  # … and a log line about each five seconds


class Client(Protocol):
    """What aiokafka's producer, consumer and admin client have in common."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


C = TypeVar("C", bound=Client)


def connection(kafka: KafkaSettings) -> dict[str, Any]:
    """The arguments that every aiokafka client takes: brokers, TLS and SASL."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": kafka.security_protocol,
    }
    if kafka.security_protocol.endswith("SSL"):
        files = (kafka.ssl_ca_file, kafka.ssl_cert_file, kafka.ssl_key_file)
        ca, certificate, key = (None if file is None else str(file) for file in files)
        arguments["ssl_context"] = create_ssl_context(cafile=ca, certfile=certificate, keyfile=key)
    if kafka.security_protocol.startswith("SASL"):
        password = kafka.sasl_password
        arguments["sasl_mechanism"] = kafka.sasl_mechanism
        arguments["sasl_plain_username"] = kafka.sasl_username
        arguments["sasl_plain_password"] = None if password is None else password.get_secret_value()
    return arguments


def request_timeout_ms(kafka: KafkaSettings) -> int:
    """The `request_timeout_ms` of clients that are in no group (a member's join may rightly take longer)."""
    return round(kafka.request_timeout.total_seconds() * 1000)


async def connected(make: Callable[[], C], kafka: KafkaSettings, *, client_id: str) -> C:
    """Make a client and start it; a new one until it works, however long that takes. May be cancelled."""
    attempt = 0
    while True:
        client = make()
        try:
            async with asyncio.timeout(2 * kafka.request_timeout.total_seconds()):
                await client.start()
        except (KafkaError, TimeoutError) as error:
            if attempt % _ATTEMPTS_PER_LINE == 0:
                servers = kafka.bootstrap_servers
                _log.warning("brokers_unreachable", client_id=client_id, servers=servers, reason=repr(error))
            attempt += 1
            await client.stop()
        except BaseException:  # cancelled, or a setting that aiokafka refuses
            await client.stop()
            raise
        else:
            return client
        await asyncio.sleep(_RETRY)
