"""One partition's offsets when records finish out of order. Pure.

A commit is the lowest unfinished offset; what is finished above it goes into the commit's metadata.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle

METADATA_LIMIT = 4096  # bytes of commit metadata the broker takes (offset.metadata.max.bytes)
_FORM = "1:"  # of the metadata: lengths of runs from the committed offset on, unfinished and finished by turns


@dataclass(slots=True)
class OffsetTracker:
    """One partition's offsets. Pure."""

    next_offset: int  # everything below is finished
    _open: set[int] = field(default_factory=set)
    _seen: int = 0  # the highest offset taken, plus one
    _before: set[int] = field(default_factory=set)  # finished before a take-over, not met again yet

    def take(self, offset: int) -> bool:
        """Begin a record; False where it was finished already, before a take-over (or is in flight)."""
        if offset < self.next_offset or offset in self._open:
            return False
        self._seen = max(self._seen, offset + 1)
        if offset in self._before:
            self._before.discard(offset)
            self._advance()
            return False
        self._open.add(offset)
        return True

    def finish(self, offset: int) -> None:
        self._open.discard(offset)
        if offset == self.next_offset:  # else the lowest unfinished one is still the same
            self._advance()

    @property
    def in_flight(self) -> int:
        return len(self._open)

    @property
    def to_read(self) -> int:
        """The offset after the highest one that was taken."""
        return max(self._seen, self.next_offset)

    def commit_point(self) -> tuple[int, str]:
        """The offset to commit (the lowest unfinished) and the metadata that holds what is finished above it."""
        return self.next_offset, _written(self._finished_runs())

    @classmethod
    def restored(cls, offset: int, metadata: str) -> "OffsetTracker":
        """From a commit; metadata that can not be read is ignored."""
        return cls(offset, _before=_read(offset, metadata))

    def _advance(self) -> None:
        lowest = min(self._open, default=self.to_read)
        while lowest == self.to_read and lowest in self._before:
            self._before.discard(lowest)
            self._seen = lowest = lowest + 1
        self.next_offset = lowest

    def _finished_runs(self) -> list[int]:
        """Lengths of runs from `next_offset` on: unfinished, finished, unfinished, …, finished."""
        runs: list[int] = []
        at = self.next_offset
        for start, end in self._finished():
            if runs and start == at:
                runs[-1] += end - start
            else:
                runs += [start - at, end - start]
            at = end
        return runs

    def _finished(self) -> Iterator[tuple[int, int]]:
        """What is finished above `next_offset`, as ranges in order."""
        at = self.next_offset
        for offset in sorted(self._open):
            if offset > at:
                yield at, offset
            at = offset + 1
        if self.to_read > at:
            yield at, self.to_read
        yield from ((offset, offset + 1) for offset in sorted(self._before) if offset >= self.to_read)


def _written(runs: list[int]) -> str:
    """As much as fits: what is left out is done again after a take-over, no more."""
    text = _FORM + ",".join(map(str, runs))
    if not runs or len(text) <= METADATA_LIMIT:
        return text if runs else ""
    return text[: text.rindex(",", 0, METADATA_LIMIT + 1)]


def _read(offset: int, metadata: str) -> set[int]:
    if not metadata.startswith(_FORM):
        return set()
    finished: set[int] = set()
    try:
        lengths = [int(length) for length in metadata[len(_FORM) :].split(",")]
    except ValueError:
        return set()
    for length, is_finished in zip(lengths, cycle((False, True)), strict=False):
        if is_finished:
            finished.update(range(offset, offset + length))
        offset += length
    return finished
