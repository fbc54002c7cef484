"""What ingest is measured against: FastAPI, pydantic and a Kafka ack, and nothing else. The raw body is validated in one
step, the fastest way that FastAPI has. `python -m tests.bench.bare PORT BOOTSTRAP_SERVERS`.
"""

import asyncio
import itertools
import sys
from typing import Annotated

import uvloop
from aiokafka import AIOKafkaProducer
from fastapi import FastAPI, Request, Response
from granian.constants import Interfaces
from granian.server.embed import Server
from pydantic import BaseModel, Field

TOPIC = "bench.bare"
PARTITIONS = 12


class Mail(BaseModel):
    recipient: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]
    subject: Annotated[str, Field(min_length=1, max_length=998)]
    text: str
    html: str


class Accepted(BaseModel):
    message_id: str
    status: str = "queued"


async def serve(port: int, bootstrap_servers: str) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers, acks="all", enable_idempotence=True, max_batch_size=262_144, linger_ms=0
    )
    await producer.start()
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    numbers = itertools.count()

    @app.post("/v1/messages")
    async def accept(request: Request) -> Response:
        mail = Mail.model_validate_json(await request.body())
        number = next(numbers)
        message_id = f"msg_{number}"
        value = mail.model_dump_json().encode()
        await producer.send_and_wait(TOPIC, value, message_id.encode(), partition=number % PARTITIONS)
        return Response(Accepted(message_id=message_id).model_dump_json(), 202, media_type="application/json")

    server = Server(
        app, address="127.0.0.1", port=port, interface=Interfaces.ASGINL, websockets=False, log_enabled=False
    )
    serving = asyncio.create_task(server.serve())
    await serving


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
