"""What messages were made from, found again in the log by what their ids say: lane, partition and time (R29).

It must never join a group, nor look through more than its time and memory allow: what it did not get to, it leaves out.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from chassis.clock import Clock
from chassis.ids import MessageId
from chassis.kafka import connected, connection, request_timeout_ms
from chassis.log import LogUnavailable
from chassis.settings import KafkaSettings
from schemas.envelope import MalformedRecord, decode
from schemas.inputs import Submit
from schemas.topics import message_inputs

WITHIN = 10.0  # seconds for all of a request
# A submission lies in the log this much before the time of its id at most, by clocks that differ; and this much after
# it: drafts and uploads take time. One that was written by a helper hours later is not found.
BEFORE_MS, AFTER_MS = 5_000, 60_000
_SKIP_MS = 30_000  # two that are as near are found by reading on
_POLL_MS = 200
_PARTITION_OCTETS = 256 * 1024  # of one fetch: what is looked for is a record among its neighbours
_TYPES = {Submit.TYPE: Submit}


class Search:
    """Of one partition: whom it looks for, in the order of time, and where it is."""

    def __init__(self, wanted: Iterable[MessageId]) -> None:
        self._wanted = deque(sorted(wanted, key=lambda each: each.created_at_ms))
        self._ids = {each.text for each in self._wanted}
        self._read_ms = 0  # the broker's time of the last record
        self.found: dict[str, Submit | None] = {}

    @property
    def over(self) -> bool:
        return not self._wanted

    def jump_ms(self) -> int | None:
        """The time to go on at, where that is not where it is."""
        start = self._wanted[0].created_at_ms - BEFORE_MS
        return start if start > self._read_ms + _SKIP_MS else None

    def take(self, record: ConsumerRecord) -> int:
        """Look at a record; says how many bytes were kept of it."""
        self._read_ms = record.timestamp
        kept = self._keep(record)
        while self._wanted and (
            self._wanted[0].text in self.found or record.timestamp > self._wanted[0].created_at_ms + AFTER_MS
        ):
            self.found.setdefault(self._wanted.popleft().text, None)
        return kept

    def end(self) -> None:
        """There is nothing more in the partition."""
        while self._wanted:
            self.found.setdefault(self._wanted.popleft().text, None)

    def _keep(self, record: ConsumerRecord) -> int:
        key = (record.key or b"").decode("utf-8", "replace")
        if key in self._ids and key not in self.found:
            with suppress(MalformedRecord):  # another kind of input
                submit = decode(record.value, _TYPES).data
                if record.timestamp <= submit.valid_until_ms:  # a later one is void
                    self.found[key] = submit
                    return len(record.value)
        return 0


class LoggedOriginals:
    """See `services.ingest.ports.Originals`."""

    def __init__(self, kafka: KafkaSettings, clock: Clock, *, client_id: str) -> None:
        self._kafka = kafka
        self._clock = clock
        self._client_id = client_id

    async def submits(self, wanted: Sequence[MessageId], octets: int) -> Mapping[str, Submit | None]:
        by_place: dict[TopicPartition, list[MessageId]] = {}
        for each in wanted:
            by_place.setdefault(TopicPartition(message_inputs(each.lane).name, each.partition), []).append(each)
        searches = {place: Search(there) for place, there in by_place.items()}
        if searches:
            await self._search(searches, octets)
        return {message_id: submit for search in searches.values() for message_id, submit in search.found.items()}

    async def _search(self, searches: Mapping[TopicPartition, Search], octets: int) -> None:
        consumer = await connected(self._consumer, self._kafka, client_id=self._client_id)
        ends_at = self._clock.monotonic() + WITHIN
        try:
            consumer.assign(list(searches))
            ends = await consumer.end_offsets(list(searches))
            open_ = dict(searches)
            while open_ and octets > 0 and self._clock.monotonic() < ends_at:
                await self._jump(consumer, open_)
                for place, records in (await consumer.getmany(*open_, timeout_ms=_POLL_MS)).items():
                    octets -= sum(open_[place].take(record) for record in records if not open_[place].over)
                for place in list(open_):
                    if await consumer.position(place) >= ends[place]:
                        open_[place].end()
                    if open_[place].over:
                        del open_[place]
                        consumer.pause(place)
        except KafkaError as error:
            raise LogUnavailable(f"the log can not be read: {error!r}") from error
        finally:
            await consumer.stop()

    async def _jump(self, consumer: AIOKafkaConsumer, searches: Mapping[TopicPartition, Search]) -> None:
        """Go where the next one may be: to the end, where the log has nothing as late."""
        times = {place: ms for place, search in searches.items() if (ms := search.jump_ms()) is not None}
        if not times:
            return
        for place, found in (await consumer.offsets_for_times(times)).items():
            if found is None:
                searches[place].end()
                await consumer.seek_to_end(place)
            else:
                consumer.seek(place, found.offset)

    def _consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **connection(self._kafka),
            client_id=self._client_id,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=_PARTITION_OCTETS,
            fetch_max_wait_ms=100,
            request_timeout_ms=request_timeout_ms(self._kafka),
        )
