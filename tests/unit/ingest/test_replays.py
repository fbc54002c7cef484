"""What may be replayed to a webhook (R31)."""

import pytest

from schemas.envelope import to_timestamp
from schemas.webhooks import LONGEST_REPLAY_MS
from services.ingest.domain.faults import Refused
from services.ingest.domain.replays import NewReplay, read_replay

NOW_MS = 1_790_000_000_123
EVENT_ID = "evt_06GC8M3CFE0003T5K02CH8QPVSZAT26"
HOUR_MS = 3_600_000


def at(ago_ms: int) -> str:
    return to_timestamp(NOW_MS - ago_ms)


def test_one_event() -> None:
    replay = read_replay({"event_id": EVENT_ID}, NOW_MS)
    assert (replay.event_id, replay.until_ms) == (EVENT_ID, NOW_MS)


def test_a_window() -> None:
    asked = {"since": at(HOUR_MS), "until": at(5), "event_types": ["message.*", "alert.*"], "only_failed": True}
    expected = NewReplay(None, NOW_MS - HOUR_MS, NOW_MS - 5, ("message.*", "alert.*"), only_failed=True)
    assert read_replay(asked, NOW_MS) == expected


def test_a_window_goes_until_now_and_14_days_back() -> None:
    assert read_replay({"since": at(LONGEST_REPLAY_MS)}, NOW_MS) == NewReplay(None, NOW_MS - LONGEST_REPLAY_MS, NOW_MS)


@pytest.mark.parametrize(("body", "fields"), [
    ({}, ["since"]), ({"event_id": None}, ["since"]), ({"event_id": "msg_1"}, ["event_id"]), ({"event_id": 7}, ["event_id"]),
    ({"event_id": EVENT_ID, "since": at(5), "only_failed": False}, ["since", "only_failed"]),
    ({"since": at(LONGEST_REPLAY_MS + 1)}, ["since"]), ({"since": at(0)}, ["since"]), ({"since": "yesterday"}, ["since"]),
    ({"since": at(10), "until": at(10)}, ["since"]), ({"since": at(10), "until": at(-1)}, ["until"]),
    ({"since": at(9), "event_types": [], "only_failed": 1, "x": 1}, ["x", "event_types", "only_failed"]),
    ({"since": at(9), "event_types": ["message.read"]}, ["event_types[0]"]),
])  # fmt: skip
def test_every_fault_is_named(body: dict[str, object], fields: list[str]) -> None:
    with pytest.raises(Refused) as refused:
        read_replay(body, NOW_MS)
    assert [fault.field for fault in refused.value.faults] == fields
