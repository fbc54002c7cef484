"""What the sink has taken: its file, read on from where the last look ended."""

from pathlib import Path


class Taken:
    """`moments` (monotonic) by message id, as of the last `read`; a half line is left for the next."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = 0
        self.moments: dict[bytes, float] = {}

    def read(self) -> None:
        with self._file.open("rb") as file:
            file.seek(self._read)
            fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            name, _, moment = line.partition(b" ")
            self.moments[name] = float(moment)


def slow_mark(file: Path) -> Path:
    """While this is there, the sink is slow for one destination."""
    return file.with_name(file.name + ".slow")
