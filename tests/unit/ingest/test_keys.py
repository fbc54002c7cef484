"""The form of API keys (R13)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.keys import KeyEnvironment, hash_of, new_key, well_formed


@pytest.mark.parametrize("environment", ["live", "test", "admin"])
def test_a_new_key_is_well_formed_and_says_its_environment(environment: KeyEnvironment) -> None:
    key = new_key(environment)
    assert well_formed(key)
    assert key.startswith(f"sk_{environment}_")
    assert len(key) == len(f"sk_{environment}_") + 38
    assert new_key(environment) != key


@given(st.integers(0, 37), st.sampled_from("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
def test_a_single_wrong_digit_is_found_without_a_look_up(position: int, digit: str) -> None:
    key = new_key("live", lambda bits: 12345678901234567890)
    changed = key[: 8 + position] + digit + key[9 + position :]
    assert well_formed(changed) is (changed == key)


@pytest.mark.parametrize("text", ["", "sk_live_", "sk_prod_" + "0" * 38, "x" * 100_000, "sk_live_" + "é" * 38])
def test_what_is_no_key(text: str) -> None:
    assert not well_formed(text)


def test_the_environment_is_part_of_the_checksum() -> None:
    assert not well_formed(new_key("test").replace("sk_test_", "sk_live_"))


def test_only_a_hash_is_stored() -> None:
    key = new_key("live")
    assert hash_of(key) != key
    assert len(hash_of(key)) == 64
