"""Which characters a body may hold: the fast way says what the definition says."""

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.characters import FORBIDDEN_IN_BODIES, forbidden_in_body


def test_each_of_the_first_thousand_characters() -> None:
    for character in map(chr, range(1000)):
        assert forbidden_in_body(f"a{character}b") == bool(FORBIDDEN_IN_BODIES.search(character)), ascii(character)


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text(text: str) -> None:
    assert forbidden_in_body(text) == bool(FORBIDDEN_IN_BODIES.search(text))
