"""Idempotency keys and fingerprints (R3; D19, D21)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.faults import Refused
from services.ingest.domain.idempotency import fingerprint, read_key
from services.ingest.domain.submission import parse_object


def test_from_the_http_header() -> None:
    found = read_key(["abc"], {"subject": "s"})
    assert (found.key, found.body, found.faults) == ("abc", {"subject": "s"}, ())


def test_no_key() -> None:
    assert read_key([], {"headers": {"X-A": "1"}}).key is None


def test_the_bodys_own_key_is_removed_before_the_mail_is_built() -> None:
    found = read_key([], {"subject": "s", "headers": {"X-A": "1", "x-idempotency-KEY": "abc"}})
    assert (found.key, found.body) == ("abc", {"subject": "s", "headers": {"X-A": "1"}})
    assert read_key([], {"headers": {"X-Idempotency-Key": "abc"}}).body == {}


def test_both_places_must_agree() -> None:
    assert read_key(["abc"], {"headers": {"X-Idempotency-Key": "abc"}}).key == "abc"
    found = read_key(["abc"], {"headers": {"X-Idempotency-Key": "abd"}})
    assert [(fault.field, fault.code) for fault in found.faults] == [
        ("headers.X-Idempotency-Key", "idempotency_key_mismatch")
    ]


@pytest.mark.parametrize("value", ["", "x" * 257, "a\x00", "a\nb", "a\x7f", "a\u2028b", "\ud800", 7, None, ["a"]])
def test_a_bad_key_in_the_body(value: Any) -> None:
    found = read_key([], {"headers": {"X-Idempotency-Key": value}})
    assert found.key is None
    assert [fault.code for fault in found.faults] == ["invalid_idempotency_key"]


def test_given_twice_in_the_body() -> None:
    found = read_key([], {"headers": {"X-Idempotency-Key": "a", "x-idempotency-key": "a"}})
    assert [fault.code for fault in found.faults] == ["duplicate"]


@pytest.mark.parametrize("values", [[""], ["x" * 257], ["a\tb"], ["a", "a"], ["a", "b"]])
def test_a_bad_http_header_is_400(values: list[str]) -> None:
    with pytest.raises(Refused) as refused:
        read_key(values, {})
    assert (refused.value.status, refused.value.code) == (400, "invalid_idempotency_key")


def test_quotes_are_part_of_the_key() -> None:
    assert read_key(['"abc"'], {}).key == '"abc"'
    assert read_key(["x" * 256], {}).key == "x" * 256


BODY = st.dictionaries(
    st.text(max_size=5), st.text(max_size=9) | st.integers(0, 9) | st.lists(st.booleans()), max_size=5
)


@given(BODY, st.randoms())
def test_order_spacing_and_escapes_do_not_count(body: dict[str, Any], random: Any) -> None:
    """D21: the same JSON, written differently, is the same request."""
    members = list(body.items())
    random.shuffle(members)
    other = json.dumps(dict(members), indent=3, ensure_ascii=True)
    same = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    prints = {fingerprint("POST", "/v1/messages", parse_object(text.encode())) for text in (other, same)}
    assert len(prints) == 1


@pytest.mark.parametrize("other", [("PUT", "/v1/messages"), ("POST", "/v1/other")])
def test_method_and_path_count(other: tuple[str, str]) -> None:
    assert fingerprint(*other, {}) != fingerprint("POST", "/v1/messages", {})


def test_another_value_is_another_request() -> None:
    assert fingerprint("POST", "/", {"a": "1"}) != fingerprint("POST", "/", {"a": 1})
    assert fingerprint("POST", "/", {"a": ["1", "2"]}) != fingerprint("POST", "/", {"a": ["2", "1"]})


def test_json_that_can_be_read_but_not_written_is_400() -> None:
    deep = parse_object(b'{"a":' + b"[" * 900 + b"]" * 900 + b"}")
    with pytest.raises(Refused) as refused:
        fingerprint("POST", "/", deep)
    assert refused.value.code == "invalid_json"
