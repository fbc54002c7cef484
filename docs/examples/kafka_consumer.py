"""Prints what becomes of each message, in its order. `pip install "faststream[kafka]"`, then run it as it is."""

import asyncio
import json
import os

from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker
from faststream.security import SASLPlaintext

login = SASLPlaintext(os.environ["KAFKA_USERNAME"], os.environ["KAFKA_PASSWORD"])  # over TLS: ssl_context=…
broker = KafkaBroker(os.environ["KAFKA_BOOTSTRAP_SERVERS"], security=login, allow_auto_create_topics=False)
done: dict[str, int] = {}  # in earnest: in your database, written together with what the event changes there


@broker.subscriber(
    "mail.public.message-events.v1",
    group_id="shop.orders",  # your team's name, and the application's
    auto_offset_reset="earliest",  # at first: all that is still kept
    ack_policy=AckPolicy.NACK_ON_ERROR,  # what raises comes again, before those behind it
)
async def on_event(value: bytes) -> None:
    event = json.loads(value)
    if event["sequence"] > done.get(event["subject"], 0):  # else it has been here before
        print(event["subject"], event["sequence"], event["type"], event["data"]["status"], flush=True)
        done[event["subject"]] = event["sequence"]


asyncio.run(FastStream(broker).run())
