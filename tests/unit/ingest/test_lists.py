"""Pages, suppressions and endpoints as they are asked for (R11, R31)."""

from typing import Any

import pytest

from services.ingest.domain.endpoints import read_endpoint, signing_secret
from services.ingest.domain.faults import Refused
from services.ingest.domain.pages import PageRequest, cursor_of, read_page
from services.ingest.domain.suppression_list import listed_form, read_origin, read_suppression


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
        ({"recipient": "a@b.example", "tag": "otp"}, [("tag", "unsupported_field")]),
        ({"recipient": "a@b.example", "scope": "x"}, [("scope", "unknown_field")]),
    ],
)
def test_faults_of_a_suppression(body: dict[str, Any], faults: list[tuple[str, str]]) -> None:
    with pytest.raises(Refused) as refused:
        read_suppression(body)
    assert [(fault.field, fault.code) for fault in refused.value.faults] == faults


def test_origins() -> None:
    assert read_origin(None) == ("api", "bounce")
    assert read_origin("bounce") == ("bounce",)
    with pytest.raises(Refused):
        read_origin("all")


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
