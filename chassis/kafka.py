"""How every Kafka client of a process reaches the brokers, and how a record that was read becomes ours.

It must never hold a connection.
"""

from typing import Any

from aiokafka.helpers import create_ssl_context

from chassis.settings import KafkaSettings


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
