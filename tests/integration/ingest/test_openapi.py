"""The whole API by its OpenAPI document, against the service: what is generated from it finds no 5xx, no answer that the
document does not describe, and no route that forgets to ask for a key (R15; D70, D71).
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import schemathesis
from fastapi.routing import iter_route_contexts
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from chassis.log import Log
from services.ingest.api.openapi import OPERATIONS, document
from tests.integration.ingest.stage import Client, Tenant, holds, known, new_tenant, replica
from tests.kit.broker import Broker

# 71 operations, each with some requests that fit the document and some that do not: twenty seconds of CPU.
FITTING, UNFITTING = 6, 8
# What is wrong with one of its mails stands in the 202.
BATCH_PATH = "/v1/messages/batch"
# Reads are passed on to the read side, which is not there: 503, as the document says.
AWAY = ("/v1/messages", "/v1/events", "/v1/metrics", "/v1/ledger", "/v1/sandbox/messages", "/v1/dead-letters")
CHECKS = [
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
LABELS = [f"{operation.method} {operation.path}" for operation in OPERATIONS]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def asked(
    own_broker: Broker, log: Log, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Client, Tenant]]:
    """A replica and a tenant of its own: what is generated revokes, deletes and rotates."""
    folder: Path = tmp_path_factory.mktemp("openapi")
    tenant = await new_tenant(log)
    async with replica(own_broker, folder) as client:
        await holds(client.ready)
        await known(client, tenant)
        yield client, tenant


def test_the_document_has_the_routes_of_the_app_and_no_others(ingest: Client) -> None:
    routes = {
        (method, str(context.path).replace(":path}", "}"))
        for context in iter_route_contexts(ingest.app.routes)
        for method in context.methods or ()
        if method not in {"HEAD", "OPTIONS"}
    }
    assert {(operation.method, operation.path) for operation in OPERATIONS} == routes


async def test_documents_are_served_and_load_nothing(ingest: Client) -> None:
    served = await ingest.call("GET", "/openapi.json")
    assert served.json == document()
    for path in ("/docs", "/docs/errors", "/events-docs"):
        page = await ingest.call("GET", path)
        assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert b"<script" not in page.raw
        assert b"src=" not in page.raw
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]


@pytest.mark.filterwarnings(
    "ignore::hypothesis.errors.HypothesisDeprecationWarning"
)  # schemathesis draws from `random`
@pytest.mark.parametrize("label", LABELS)
async def test_an_operation_keeps_to_the_document(
    label: str, asked: tuple[Client, Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ingest.admission.ANONYMOUS_PER_MINUTE", 1_000_000)
    monkeypatch.setattr("services.ingest.admission.LINKS_PER_MINUTE", 1_000_000)
    for waits in ("versions", "queues"):  # one replica: nobody else has to know before the answer
        monkeypatch.setattr(f"services.ingest.management.{waits}.ANSWER_AFTER", 0.0)
    client, tenant = asked
    key = tenant.keys["admin"] if label.split()[1].startswith("/v1/projects") else tenant.live
    await asyncio.to_thread(_ask, label, client.url, key)


def _ask(label: str, url: str, key: str) -> None:
    method, path = label.split()
    operation = schemathesis.openapi.from_dict(document())[path][method]
    away = path.startswith("/v1/dead-letters")
    away = away or (method == "GET" and (path.startswith(AWAY) or path.endswith("/attempts")))
    checks = [*CHECKS, *([] if away else [not_a_server_error])]
    headers = {"Authorization": f"Bearer {key}"}
    fitting = operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE)
    _generate(fitting, FITTING, [*checks, ignored_auth], base_url=url, headers=headers)
    if operation.query or operation.body:  # the key is given, so that it is not what is made unfit
        unfitting = operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE, headers=headers)
        _generate(
            unfitting, UNFITTING, [*checks, *([] if path == BATCH_PATH else [negative_data_rejection])], base_url=url
        )


def _generate(cases: Any, count: int, checks: list[Any], **call: Any) -> None:
    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def ask(case: Any) -> None:
        case.call_and_validate(checks=checks, **call)

    ask()
