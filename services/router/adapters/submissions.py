"""Reads a Submit again by its offset, through the process's tail: for a thin state that must go out once more."""

import asyncio

from chassis.log import Incoming, LogUnavailable
from chassis.tail import Tail
from schemas.envelope import MalformedRecord, decode
from schemas.inputs import Submit
from schemas.mail import Content
from schemas.topics import Topic

_WITHIN = 5.0  # seconds to get it from the broker


class LoggedSubmissions:
    """The Submits of one lane's input topic."""

    def __init__(self, tail: Tail, topic: Topic) -> None:
        self._tail = tail
        self._topic = topic

    async def content(self, partition: int, offset: int) -> Content | None:
        first: asyncio.Future[Incoming] = asyncio.get_running_loop().create_future()

        def take(record: Incoming) -> None:
            if not first.done():
                first.set_result(record)

        await self._tail.follow(self._topic.name, partition, take, start=offset)
        try:
            async with asyncio.timeout(_WITHIN):
                record = await first
        except TimeoutError as error:
            raise LogUnavailable(f"{self._topic.entry}/{partition}/{offset} could not be read again") from error
        finally:
            await self._tail.unfollow(self._topic.name, partition)
        return _content_of(record) if record.offset == offset else None  # retention has moved past it


def _content_of(record: Incoming) -> Content | None:
    try:
        return decode(record.value, {Submit.TYPE: Submit}).data.content
    except MalformedRecord:
        return None
