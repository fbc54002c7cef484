"""Pages, suppressions and endpoints as they are asked for (R11, R31)."""

from typing import Any

import pytest

from schemas.events import SuppressionOrigin
from schemas.tables import Suppression
from services.ingest.domain.endpoints import read_endpoint, signing_secret
from services.ingest.domain.faults import Refused
from services.ingest.domain.pages import PageRequest, cursor_of, read_page
from services.ingest.domain.suppression_list import (
    NewSuppression,
    listed_form,
    read_selection,
    read_suppression,
)


def test_a_cursor_comes_back_as_it_was_given() -> None:
    position = ("2026-09-21T12:53:20.123Z", "prj_1:*:ä@example.org:api")
    assert read_page({"after": cursor_of(position), "limit": "100"}) == PageRequest(100, position)
    assert read_page({}) == PageRequest(25, None)


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "101"}, {"limit": "-1"}, {"limit": "x"}, {"limit": "٣"},
                                   {"limit": "9" * 5000}, {"after": "x"}, {"after": "é"}, {"after": ""}, {"after": "AAAA"}])  # fmt: skip
def test_bad_pages(query: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        read_page(query)
    assert [fault.field for fault in refused.value.faults] == list(query)


def test_an_address_is_listed_in_lower_case() -> None:
    assert read_suppression({"recipient": "Bob <Bob@BÜCHER.example>"}).recipient == "bob@xn--bcher-kva.example"
    assert listed_form("Bob@Example.ORG") == "bob@example.org"
    assert listed_form("nobody") is None


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, [("recipient", "required")]),
        ({"recipient": 7, "reason": 7}, [("recipient", "invalid_address"), ("reason", "invalid_value")]),
        ({"recipient": "a@b.example", "reason": "x"}, [("reason", "invalid_value")]),
        ({"recipient": "a@b.example\r\n"}, [("recipient", "invalid_address")]),
        ({"recipient": "a@b.example", "tag": "a b"}, [("tag", "invalid_tag")]),
        ({"recipient": "a@b.example", "tag": "*"}, [("tag", "invalid_tag")]),
        ({"recipient": "a@b.example", "tag": ["otp"]}, [("tag", "invalid_tag")]),
        ({"recipient": "a@b.example", "scope": "x"}, [("scope", "unknown_field")]),
    ],
)
def test_faults_of_a_suppression(body: dict[str, Any], faults: list[tuple[str, str]]) -> None:
    with pytest.raises(Refused) as refused:
        read_suppression(body)
    assert [(fault.field, fault.code) for fault in refused.value.faults] == faults


def test_a_suppression_is_for_the_project_or_for_a_tag() -> None:
    assert read_suppression({"recipient": "a@b.example"}) == NewSuppression("a@b.example", "manual", "*")
    asked = {"recipient": "a@b.example", "tag": "news", "reason": "unsubscribed"}
    assert read_suppression(asked).scope == "news"
    assert read_suppression(asked).origin == "unsubscribe"  # beside what `api` says of the address, not in its place


def test_the_list_of_unsubscribes_takes_no_other_reason() -> None:
    assert read_suppression({"recipient": "a@b.example"}, "unsubscribed").reason == "unsubscribed"
    with pytest.raises(Refused):
        read_suppression({"recipient": "a@b.example", "reason": "manual"}, "unsubscribed")
    with pytest.raises(Refused):
        read_selection({"reason": "manual"}, "unsubscribed")


def listed(recipient: str = "ada@example.org", *, scope: str = "*", origin: SuppressionOrigin = "api") -> Suppression:
    return Suppression(
        id="sup_1",
        project_id="prj_1",
        scope=scope,
        recipient=recipient,
        reason="manual",
        origin=origin,
        source_event_id=None,
        created_at="2026-09-21T14:13:20.123Z",
    )


@pytest.mark.parametrize(
    ("query", "taken"),
    [
        ({}, True),
        ({"search": "ADA@"}, True),
        ({"search": "example"}, True),
        ({"search": "bob"}, False),
        ({"reason": "manual", "origin": "api", "tag": "*"}, True),
        ({"reason": "complaint"}, False),
        ({"origin": "bounce"}, False),
        ({"tag": "news"}, False),
    ],
)
def test_what_a_selection_takes(query: dict[str, str], taken: bool) -> None:
    assert read_selection(query).takes(listed()) is taken


@pytest.mark.parametrize(
    "query", [{"search": ""}, {"search": "x" * 321}, {"reason": "x"}, {"origin": "all"}, {"tag": "a b"}]
)
def test_faults_of_a_selection(query: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        read_selection(query)
    assert [fault.field for fault in refused.value.faults] == list(query)


def test_an_endpoint() -> None:
    found = read_endpoint({"url": "https://shop.example.com/x", "events": ["*"], "tags": ["otp"]}, allow_loopback=False)
    assert (found.events, found.tags, found.description) == (("*",), ("otp",), None)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["url", "events"]),
        ({"url": 7, "events": "*", "tags": 7, "description": 7}, ["url", "events", "tags", "description"]),
        ({"url": "http://127.0.0.1/", "events": ["*"]}, ["url"]),
        ({"url": "https://shop.example.com/", "events": ["message.read", 7]}, ["events[0]", "events[1]"]),
        ({"url": "https://shop.example.com/", "events": []}, ["events"]),
        ({"url": "https://shop.example.com/", "events": ["*"], "secret": "x"}, ["secret"]),
        ({"url": "https://shop.example.com/", "events": ["*"], "description": "a\nb"}, ["description"]),
    ],
)
def test_faults_of_an_endpoint(body: dict[str, Any], fields: list[str]) -> None:
    with pytest.raises(Refused) as refused:
        read_endpoint(body, allow_loopback=False)
    assert sorted(fault.field for fault in refused.value.faults) == sorted(fields)


def test_secrets_have_the_form_of_standard_webhooks() -> None:
    assert signing_secret(b"\x00" * 32) == "whsec_" + "A" * 43 + "="
