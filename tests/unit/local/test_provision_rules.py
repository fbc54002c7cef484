"""What the provisioner wants of a topic, and what it refuses."""

from dataclasses import replace

import pytest

from deploy.provision import Wanted, faults, wanted
from schemas.topics import DLQ_MAX_BYTES, TOPICS, dlq_name

_HOUR_MS = 3_600_000
_WANTED = {topic.name: topic for topic in wanted(TOPICS, 2)}


def test_every_topic_and_every_dead_letter_topic_is_wanted_once() -> None:
    letters = {dlq_name(group, topic) for topic in TOPICS.values() for group in topic.dlq}
    assert letters
    assert set(_WANTED) == {topic.name for topic in TOPICS.values()} | letters
    assert len(wanted(TOPICS, 2)) == len(_WANTED)


def test_dead_letters_keep_the_partitions_of_their_source_and_fit_any_of_its_batches() -> None:
    for topic in TOPICS.values():
        for group in topic.dlq:
            letters = _WANTED[dlq_name(group, topic)]
            assert letters.partitions == topic.partitions
            assert letters.configuration["retention.ms"] == str(30 * 24 * _HOUR_MS)
            assert int(letters.configuration["max.message.bytes"]) == DLQ_MAX_BYTES > topic.max_bytes


def test_compacted_topics_keep_tombstones_longer_than_any_view_may_lag() -> None:
    for topic in TOPICS.values():
        if topic.cleanup == "compact":
            configuration = _WANTED[topic.name].configuration
            assert int(configuration["min.compaction.lag.ms"]) >= _HOUR_MS
            assert int(configuration["delete.retention.ms"]) >= 25 * _HOUR_MS


def test_readers_that_judge_by_broker_time_get_it() -> None:
    for topic in TOPICS.values():
        expected = "LogAppendTime" if topic.timestamps == "append" else "CreateTime"
        assert _WANTED[topic.name].configuration["message.timestamp.type"] == expected


def test_replicas_in_sync_are_a_setting() -> None:
    assert {topic.configuration["min.insync.replicas"] for topic in _WANTED.values()} == {"2"}


def _journal() -> Wanted:
    return _WANTED[TOPICS["attempt-journal"].name]


def test_a_topic_as_wanted_has_no_fault() -> None:
    want = _journal()
    assert faults(want, want.partitions, want.configuration) == []


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("cleanup.policy", "compact"),
        ("cleanup.policy", "compact,delete"),
        ("message.timestamp.type", "CreateTime"),
        ("retention.ms", str(8 * 24 * _HOUR_MS - 1)),
        ("max.message.bytes", "1000"),
    ],
)
def test_a_wrong_setting_is_one_sentence(setting: str, value: str) -> None:
    want = _journal()
    (said,) = faults(want, want.partitions, {**want.configuration, setting: value})
    assert want.name in said
    assert f"{setting}={value}" in said
    assert want.configuration[setting] in said


@pytest.mark.parametrize("partitions", [11, 24])
def test_another_number_of_partitions_is_refused_for_keys_and_ids_have_their_place_already(partitions: int) -> None:
    want = _journal()
    (said,) = faults(want, partitions, want.configuration)
    assert f"{partitions} partitions" in said


def test_longer_and_endless_retention_is_fine() -> None:
    want = _journal()
    for retention in ("-1", str(365 * 24 * _HOUR_MS)):
        assert faults(want, want.partitions, {**want.configuration, "retention.ms": retention}) == []


def test_a_compacted_topic_that_forgets_too_soon_is_refused() -> None:
    want = _WANTED[TOPICS["message-state.express"].name]
    (said,) = faults(want, want.partitions, {**want.configuration, "delete.retention.ms": str(24 * _HOUR_MS)})
    assert "delete.retention.ms" in said


def test_every_fault_is_told() -> None:
    want = replace(_journal(), partitions=13)
    found = {**want.configuration, "cleanup.policy": "compact", "retention.ms": "1"}
    assert len(faults(want, 12, found)) == 3
