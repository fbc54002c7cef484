"""Ids round-trip, sort by time and prove who made them (R13)."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from chassis.ids import MessageIds, derived_id, encode_base32, event_id, new_id, parse_message_id
from schemas.mail import Lane

IDS = MessageIds({1: b"1" * 32, 2: b"2" * 32}, current=2)
OLDER = MessageIds({1: b"1" * 32}, current=1)
STRANGER = MessageIds({1: b"x" * 32, 2: b"y" * 32}, current=2)
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

times = st.integers(0, (1 << 48) - 1)
lanes: st.SearchStrategy[Lane] = st.sampled_from(["express", "standard"])
partitions = st.integers(0, 1023)
projects = st.text(max_size=40)


@given(times, lanes, partitions, st.booleans(), projects)
def test_a_message_id_says_what_it_was_made_of(
    now_ms: int, lane: Lane, partition: int, scheduled: bool, project: str
) -> None:
    made = IDS.new(project_id=project, now_ms=now_ms, lane=lane, partition=partition, scheduled=scheduled)
    assert (made.created_at_ms, made.lane, made.partition, made.scheduled) == (now_ms, lane, partition, scheduled)
    assert len(made.text) == 36
    assert IDS.verify(made.text, project) == made == parse_message_id(made.text)
    assert STRANGER.verify(made.text, project) is None
    assert IDS.verify(made.text, project + "x") is None


@given(st.data())
def test_a_message_id_with_one_other_digit_is_nobodys(data: st.DataObject) -> None:
    # By hypothesis' own chance: whether the filter takes a digit must not change when an example is run again.
    ids = replace(IDS, random_bits=lambda bits: data.draw(st.integers(0, 2**bits - 1)))
    made = ids.new(project_id="p", now_ms=1_700_000_000_000, lane="express", partition=3)
    at = data.draw(st.integers(4, 35))
    digit = data.draw(st.sampled_from(ALPHABET).filter(lambda d: d != made.text[at]))
    assert IDS.verify(made.text[:at] + digit + made.text[at + 1 :], "p") is None


def test_older_secrets_still_prove_and_new_ones_sign() -> None:
    made = OLDER.new(project_id="p", now_ms=1, lane="standard", partition=0)
    assert IDS.verify(made.text, "p") == made
    newer = IDS.new(project_id="p", now_ms=1, lane="standard", partition=0)
    assert OLDER.verify(newer.text, "p") is None


@given(st.text(max_size=40))
def test_what_is_no_message_id_is_told_so(text: str) -> None:
    assert parse_message_id(text) is None
    assert IDS.verify("msg_" + text, "p") is None


@given(times, times)
def test_message_ids_and_others_sort_by_time(a: int, b: int) -> None:
    texts = [IDS.new(project_id="p", now_ms=now, lane="express", partition=1).text for now in (a, b)]
    others = [new_id("key", now) for now in (a, b)]
    if a < b:
        assert texts[0] < texts[1]
        assert others[0] < others[1]


def test_ids_are_not_made_twice() -> None:
    assert len({new_id("sub", 1) for _ in range(1000)}) == 1000
    made = {IDS.new(project_id="p", now_ms=1, lane="express", partition=1).text for _ in range(1000)}
    assert len(made) == 1000


@given(st.integers(0, (1 << 130) - 1))
def test_base32_keeps_the_order_of_numbers(number: int) -> None:
    text = encode_base32(number, 26)
    assert len(text) == 26
    assert sum(ALPHABET.index(digit) << (5 * place) for place, digit in enumerate(reversed(text))) == number


def test_event_ids_are_a_function_of_message_and_sequence() -> None:
    message = IDS.new(project_id="p", now_ms=1_700_000_000_000, lane="express", partition=3).text
    ids = [event_id(message, sequence) for sequence in range(50)]
    assert ids == [event_id(message, sequence) for sequence in range(50)]
    assert ids == sorted(set(ids))
    other = IDS.new(project_id="p", now_ms=1_700_000_000_000, lane="express", partition=3).text
    assert event_id(other, 1) != ids[1]


def test_derived_ids_do_not_run_their_parts_together() -> None:
    assert derived_id("whd", "a", "bc") == derived_id("whd", "a", "bc")
    assert derived_id("whd", "a", "bc") != derived_id("whd", "ab", "c")
    assert derived_id("whd", "a").startswith("whd_")
