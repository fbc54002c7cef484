"""The address that a message's bounces go to, and what is read from one that mail came to (R27; D99)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.ids import message_id_of
from chassis.return_path import ReturnPaths

OLD, NEW = b"0123456789abcdef", b"fedcba9876543210"
PATHS = ReturnPaths({1: OLD, 2: NEW})
DOMAIN = "bounces.example.com"
ids = st.binary(min_size=20, max_size=20).map(message_id_of)


def made(message_id: str, paths: ReturnPaths = PATHS, domain: str = DOMAIN) -> str:
    address = paths.address(message_id, domain)
    assert address is not None
    return address


@given(ids)
def test_it_names_its_message_at_each_attempt(message_id: str) -> None:
    address = made(message_id)
    assert address == made(message_id)
    assert PATHS.message_of(address) == message_id


@given(ids)
def test_it_is_an_address_that_every_server_takes(message_id: str) -> None:
    local, _, domain = made(message_id).partition("@")
    assert local.startswith("b+")
    assert len(local) <= 64
    assert local.removeprefix("b+").isalnum()
    assert local == local.lower()
    assert domain == DOMAIN


@given(ids)
def test_a_server_may_change_the_case(message_id: str) -> None:
    assert PATHS.message_of(made(message_id).upper()) == message_id


@given(ids, ids)
def test_two_messages_never_share_one(one: str, other: str) -> None:
    assert (made(one) == made(other)) == (one == other)


@given(ids, st.integers(0, 59), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_forged_one_names_nothing(message_id: str, place: int, character: str) -> None:
    """Each character counts, but for four bits at the end that base32 has to spare."""
    local, _, domain = made(message_id).partition("@")
    token = local.removeprefix("b+")
    forged = token[:place] + character + token[place + 1 :]
    found = PATHS.message_of(f"b+{forged}@{domain}")
    assert found is None or (found == message_id and forged[:-1] == token[:-1])


@given(ids)
def test_it_holds_at_its_domain_only(message_id: str) -> None:
    local, _, _ = made(message_id).partition("@")
    assert PATHS.message_of(f"{local}@bounces.example.org") is None


@given(ids)
def test_a_secret_is_believed_until_it_is_retired(message_id: str) -> None:
    old = made(message_id, ReturnPaths({1: OLD}))
    assert PATHS.message_of(old) == message_id
    assert ReturnPaths({2: NEW}).message_of(old) is None
    assert ReturnPaths({1: b"another's secret"}).message_of(old) is None


@pytest.mark.parametrize(
    "text", ["", "b+@x", "b+aaaa@x", f"b+{'1' * 60}@x", f"{'a' * 60}@x", "shop@example.com", "b+ü"]
)
def test_what_is_none_of_ours(text: str) -> None:
    assert PATHS.message_of(text) is None


@pytest.mark.parametrize("text", ["", "msg_1", "evt_06GC8M3CFE20EBBH2S1BE9HPNB0SXKY1"])
def test_only_messages_have_one(text: str) -> None:
    assert PATHS.address(text, DOMAIN) is None
