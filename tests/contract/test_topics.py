"""`topics.yaml` is sound, and its checker is fed bad files."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from schemas.topics import TOPICS, load, read_partitions, read_pools

GOOD = """
defaults: {timestamps: create, max_bytes: 1048576}
topics:
  one:
    name: mail.internal.one.v1
    about: x
    key: k
    partitions: 1
    cleanup: compact
    records: [table.project]
    producers: [ingest]
    consumers: [ingest]
"""


def test_each_pool_has_its_own_topics_and_dead_letters() -> None:
    two = load(Path("schemas/topics.yaml"), read_pools("main, otp"))
    assert two.keys() - TOPICS.keys() == {"deliveries.otp.express", "deliveries.otp.standard"}
    assert two["deliveries.otp.express"].name == "mail.internal.deliveries.otp.express.v1"
    assert two["deliveries.otp.express"].dlq == ("sender.otp",)
    assert two["deliveries.main.express"] == TOPICS["deliveries.main.express"]


@pytest.mark.parametrize("text", ["", "main,", "Main", "ot p", "a.b", "-a", "x" * 33])
def test_a_pool_that_can_be_no_topic_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="SENDARIX_POOLS"):
        read_pools(text)


def test_streams_are_as_wide_as_the_installation_and_tables_stay_one() -> None:
    wide = load(Path("schemas/topics.yaml"), read_pools("main"), read_partitions("48"))
    assert {topic.partitions for topic in wide.values()} == {1, 48}
    assert [entry for entry, topic in wide.items() if topic.partitions == 1] == [
        entry for entry, topic in TOPICS.items() if topic.partitions == 1
    ]


@pytest.mark.parametrize("text", ["", "0", "-1", "1025", "twelve", "1.5"])
def test_a_number_of_partitions_that_can_be_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="SENDARIX_PARTITIONS"):
        read_partitions(text)


def test_names_are_unique() -> None:
    names = [topic.name for topic in TOPICS.values()]
    assert len(names) == len(set(names))


def test_streams_have_twelve_partitions_and_tables_one() -> None:
    assert {topic.partitions for topic in TOPICS.values()} == {1, 12}


def test_topics_whose_records_may_come_too_late_carry_the_brokers_time() -> None:
    late = {"input.submit", "state.message", "delivery.requested", "journal.started", "idempotency.claim"}
    for topic in TOPICS.values():
        if late & set(topic.records):
            assert topic.timestamps == "append", topic.name


def test_where_the_first_record_wins_nothing_is_compacted() -> None:
    assert TOPICS["idempotency"].cleanup == TOPICS["attempt-journal"].cleanup == "delete"


def test_router_alone_writes_message_events() -> None:
    assert TOPICS["message-events"].producers == ("router",)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("mail.internal.one.v1", "mail.secret.one.v1"),
        ("mail.internal.one.v1", "mail.internal.one_two.v1"),
        ("mail.internal.one.v1", "mail.internal.one"),
        ("[table.project]", "[table.projekt]"),
        ("cleanup: compact", "cleanup: delete"),
        ("cleanup: compact", "cleanup: compact\n    retention: 7d"),
        ("cleanup: compact", "cleanup: kompakt"),
        ("about: x", "abuot: x"),
        ("partitions: 1", "partitions: one"),
    ],
)
def test_the_checker_refuses(tmp_path: Path, right: str, wrong: str) -> None:
    path = tmp_path / "topics.yaml"
    path.write_text(GOOD)
    load(path)
    path.write_text(GOOD.replace(right, wrong, 1))
    with pytest.raises(ValidationError):
        load(path)
