"""The questions of the events feed: what comes next in each partition, and those events as they stand in Kafka."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from schemas.topics import Topic
from services.analytics.adapters.questions import Conditions, Questions, Values, select
from services.analytics.domain.cursors import Positions
from services.analytics.domain.feed import FeedEntry, Heads
from services.analytics.domain.rows import Position

# The feed looks this many offsets ahead first: a client that starts at the beginning is not answered by sorting all.
_WINDOW = 5_000
_NO_WINDOW = 2**61  # beyond any offset


class ClickHouseFeed:
    """The ports `FeedReads` and `FeedWatch` on ClickHouse."""

    def __init__(self, questions: Questions, topics: Sequence[Topic]) -> None:
        self._questions = questions
        # Of each partition, the offset behind its last row, as last seen (of whatever project).
        self._ends = {(topic.name, partition): 0 for topic in topics for partition in range(topic.partitions)}
        self._watched: Positions = dict(self._ends)

    async def next_events(
        self, project_id: str, start: Positions, types: frozenset[str], *, per_partition: int
    ) -> Heads:
        # Asked first: what is inserted meanwhile lies behind these ends, and is looked at the next time.
        ends = await self.ends()
        near = await self._events_from(project_id, start, ends, types, per_partition, window=_WINDOW)
        beyond = any(end > start.get(place, 0) + _WINDOW for place, end in ends.items())
        if len(near.entries) >= per_partition or not beyond:
            return near
        return await self._events_from(project_id, start, ends, types, per_partition, window=_NO_WINDOW)

    async def events(self, project_id: str, entries: Sequence[FeedEntry]) -> Mapping[str, str]:
        conditions = ["subject IN {subjects:Array(String)}", "event_id IN {ids:Array(String)}"]
        statement = select("event_id, event", "events_raw FINAL", conditions, where="PREWHERE")
        subjects = sorted({entry.subject for entry in entries})
        values: Values = {"subjects": subjects, "ids": [entry.event_id for entry in entries]}
        return dict(await self._questions.ask("events", statement, project_id, values))

    async def new_projects(self) -> Collection[str]:
        before = dict(self._watched)
        self._watched = await self.ends()
        ranges, values = _ranges(before, _NO_WINDOW)
        statement = f"SELECT DISTINCT project_id FROM events_raw WHERE {ranges}"  # noqa: S608  # only to wake who has a key
        return [project_id for (project_id,) in await self._questions.ask("new_projects", statement, "", values)]

    async def ends(self) -> Positions:
        """Behind the last known ones there is little to read."""
        ranges, values = _ranges(self._ends, _NO_WINDOW)
        statement = f"""
            SELECT _topic, _partition, max(_offset) + 1 FROM events_raw WHERE {ranges} GROUP BY _topic, _partition
        """  # noqa: S608  # words of this module; no row of any project is shown
        for topic, partition, end in await self._questions.ask("ends", statement, "", values):
            self._ends[topic, partition] = max(end, self._ends[topic, partition])
        return dict(self._ends)

    async def _events_from(
        self,
        project_id: str,
        start: Positions,
        ends: Positions,
        types: frozenset[str],
        per_partition: int,
        *,
        window: int,
    ) -> Heads:
        first = {place: start.get(place, 0) for place in ends}
        ranges, values = _ranges(first, window)
        wanted = ["event_type IN {types:Array(String)}"] if types else []
        statement = select(
            "_topic, _partition, _offset, toUnixTimestamp64Milli(event_time), subject, event_id, event_type",
            "events_raw FINAL",
            [ranges, *wanted],
            "ORDER BY _topic, _partition, _offset LIMIT {count:UInt32} BY _topic, _partition",
        )
        values |= {"types": sorted(types), "count": per_partition}
        rows = await self._questions.ask("next_events", statement, project_id, values)
        entries = [
            FeedEntry(Position(topic, partition, offset), event_time, subject, event_id, event_type)
            for topic, partition, offset, event_time, subject, event_id, event_type in rows
        ]
        seen = {place: min(end, first[place] + window) for place, end in ends.items()}
        full = Counter(entry.position.place for entry in entries)
        for entry in entries:  # the last one of a partition tells how far a full one was looked through
            if full[entry.position.place] >= per_partition:
                seen[entry.position.place] = entry.position.offset + 1
        return Heads(entries, seen)


def _ranges(start: Positions, window: int) -> tuple[str, Values]:
    """What lies from `start` on (all partitions that topics.yaml gives a topic), `window` offsets of each.

    Per topic, the bounds of all its partitions together: those the index on the log position can use. Then each
    partition's own, by its number.
    """
    topics: dict[str, dict[int, int]] = {}
    for (topic, partition), offset in start.items():
        topics.setdefault(topic, {})[partition] = offset
    ranges: Conditions = []
    values: Values = {"window": window}
    for number, (topic, first) in enumerate(topics.items()):
        ranges.append(
            f"(_topic = {{topic{number}:String}} AND _partition < length({{own{number}:Array(UInt64)}})"
            f" AND _offset >= {{first{number}:UInt64}} AND _offset < {{last{number}:UInt64}}"
            f" AND _offset >= {{own{number}:Array(UInt64)}}[_partition + 1]"
            f" AND _offset < {{own{number}:Array(UInt64)}}[_partition + 1] + {{window:UInt64}})"
        )
        own = [first[partition] for partition in range(len(first))]
        values |= {f"topic{number}": topic, f"own{number}": own}
        values |= {f"first{number}": min(own), f"last{number}": max(own) + window}
    return f"({' OR '.join(ranges)})", values
