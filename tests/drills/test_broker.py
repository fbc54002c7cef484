"""What is wrong with the broker's machine rather than with a process: its disk is full.

The disk is a tmpfs of the drill's own, so this needs the right to mount (root, as in a container).
"""

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.drills.conftest import slow_reply
from tests.drills.faults import settled
from tests.drills.field import field_of
from tests.drills.load import Load
from tests.kit.waiting import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

SMALL, LARGE = "size=160m", "remount,size=600m"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Where the broker's data of the stack in `tmp_path` will lie."""
    folder = tmp_path / "run" / "kafka"
    folder.mkdir(parents=True)
    _mount("-t", "tmpfs", "-o", SMALL, "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, timeout=10)


async def test_a_full_disk(small_disk: Path, tmp_path: Path, dice: Random, say: Callable[[str], None]) -> None:
    """D4: the broker stops acking, and everything it has acked is there once it has room again."""
    async with field_of(tmp_path / "run", 26120, slow_reply) as place, Load(place.stack, dice, "full") as load:
        await load.run(100)
        sending = load.begin(load.run(200))
        await until(lambda: len(load.log.accepted) >= 120, within=30, every=0.005)
        pid = place.stack.pid("kafka")
        await asyncio.to_thread(_fill, small_disk / "filler")
        place.assert_in_flight(load, "the disk was full")
        await until(lambda: place.stack.pid("kafka") != pid, within=60)  # it has ended itself
        seen = load.log.statuses["503"]
        await until(lambda: load.log.statuses["503"] > seen, within=30)
        _mount("-o", LARGE, str(small_disk))
        await settled(place.stack)
        await sending
        assert await place.verdict(load) == []
        say(place.figures(load))


def _fill(file: Path) -> None:
    """Take all the room there is."""
    with file.open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(1 << 16))
        except OSError:
            return
