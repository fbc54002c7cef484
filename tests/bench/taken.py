"""What the sink has taken: its file, read on from where the last look ended; and how it is made slow."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_LOOKS_WITHIN = 1.0  # seconds: the sink does so ten times a second


class Taken:
    """`moments` (monotonic) by message id, as of the last `read`; a half line is left for the next."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = 0
        self.moments: dict[bytes, float] = {}
        self.count = 0

    def read(self) -> None:
        with self._file.open("rb") as file:
            file.seek(self._read)
            fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            name, _, moment = line.partition(b" ")
            self.moments[name] = float(moment)
            self.count += 1


def slow_mark(file: Path) -> Path:
    """While this is there, the sink is slow for the destination that it names."""
    return file.with_name(file.name + ".slow")


@asynccontextmanager
async def slowed(mark: Path, destination: str, seconds: float) -> AsyncIterator[None]:
    """Each RCPT of the destination takes so long, until the block ends."""
    await asyncio.to_thread(mark.write_text, f"{destination} {seconds}")
    await asyncio.sleep(_LOOKS_WITHIN)
    try:
        yield
    finally:
        await asyncio.to_thread(mark.unlink)
