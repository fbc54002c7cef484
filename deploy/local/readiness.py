"""Whether a part of the stack is ready, as anybody may ask it: services by HTTP, Kafka and the mailbox by a greeting."""

import asyncio
from urllib.parse import urlsplit

import aiohttp

from deploy.local.kafka import wait_ready

_TIMEOUT = 3.0  # seconds; a frozen process must not hold up who asks


async def missing_of(url: str) -> list[str]:
    """What the part at `url` still lacks, in words; empty when it is ready."""
    parts = urlsplit(url)
    address = f"{parts.hostname}:{parts.port}"
    match parts.scheme:
        case "kafka":
            return [] if await wait_ready(address, within=0.1) else ["no answer"]
        case "smtp":
            return await _missing_of_mailbox(parts.hostname or "", parts.port or 0)
        case _:
            return await _missing_of_service(url)


async def _missing_of_service(url: str) -> list[str]:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT)) as http,
            http.get(f"{url}/health/ready") as response,
        ):
            if response.status == 200:
                return []
            return list((await response.json())["missing"]) or [f"status {response.status}"]
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError):
        return ["no answer"]


async def _missing_of_mailbox(host: str, port: int) -> list[str]:
    try:
        async with asyncio.timeout(_TIMEOUT):
            reader, writer = await asyncio.open_connection(host, port)
            greeting = await reader.readline()
            writer.write(b"QUIT\r\n")
            writer.close()
            return [] if greeting.startswith(b"220") else ["no greeting"]
    except (OSError, TimeoutError):
        return ["no answer"]
