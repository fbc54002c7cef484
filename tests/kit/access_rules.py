"""Rules of Kafka access as files give them, and a broker that keeps to them: nobody may do what no rule allows."""

import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import yaml
from aiokafka.protocol.admin import CreateAclsRequest

from deploy.local.kafka import KafkaPlace
from tests.kit.broker import EmbeddedBroker, free_ports
from tests.kit.topics import admin

_KINDS = {"topic": 2, "group": 3}  # as the protocol numbers them
_PATTERNS = {"literal": 3, "prefixed": 4}
_OPERATIONS = {"Read": 3, "Describe": 8}
_ALLOW = 3


@dataclass(frozen=True, slots=True)
class Rule:
    principal: str
    kind: str
    name: str
    pattern: str
    operation: str


def rules_of_commands(script: Path) -> set[Rule]:
    """Of a shell script that calls `$ACLS --add …`."""
    lines = [shlex.split(line) for line in script.read_text().splitlines() if line.startswith("$ACLS ")]
    return {rule for words in lines for rule in _rules_of(words[2:])}


def _rules_of(words: list[str]) -> Iterator[Rule]:
    options = list(zip(words[::2], words[1::2], strict=True))
    given = dict(options)
    (kind,) = {"--topic", "--group"} & set(given)
    pattern = given.get("--resource-pattern-type", "literal")
    for option, operation in options:
        if option == "--operation":
            yield Rule(given["--allow-principal"], kind.lstrip("-"), given[kind], pattern, operation)


def rules_of_users(users: Path) -> set[Rule]:
    """Of Strimzi's KafkaUsers."""
    patterns = {"prefix": "prefixed", "literal": "literal"}
    return {
        Rule(f"User:{user['metadata']['name']}", acl["resource"]["type"], acl["resource"]["name"], patterns[acl["resource"]["patternType"]], operation)
        for user in yaml.safe_load_all(users.read_text())
        for acl in user["spec"]["authorization"]["acls"]
        for operation in acl["operations"]
    }  # fmt: skip


async def apply(bootstrap_servers: str, rules: Iterable[Rule]) -> None:
    async with admin(bootstrap_servers) as client:
        for rule in rules:
            request = CreateAclsRequest(
                _KINDS[rule.kind],
                rule.name,
                _PATTERNS[rule.pattern],
                rule.principal,
                "*",
                _OPERATIONS[rule.operation],
                _ALLOW,
            )
            answer = await client._send_to_controller(request)
            assert [code for code, _ in answer.creation_responses] == [0], answer


@contextmanager
def guarded_broker(passwords: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Where its owner reaches it, without a login, and where these people do, by SASL/PLAIN."""
    port, controller_port, guarded_port = free_ports(3)
    known = " ".join(f'user_{name}="{password}"' for name, password in passwords.items())
    changes = {
        "listeners": f"PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{guarded_port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{guarded_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"org.apache.kafka.common.security.plain.PlainLoginModule required {known};",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    broker = EmbeddedBroker(KafkaPlace(Path(mkdtemp(prefix="sendarix-kafka-")), port, controller_port), changes)
    try:
        broker.await_ready()
        yield broker.bootstrap_servers, f"127.0.0.1:{guarded_port}"
    finally:
        broker.close()
