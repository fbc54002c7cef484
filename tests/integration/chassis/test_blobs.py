"""Blobs in a folder: what is read is what was written; what is over is swept, orphans too (R5; D13)."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chassis.blob_keys import blob_key, kept_until_ms, sha256_of
from chassis.blobs import BlobMissing, Blobs, StorageAway, flush, open_storage

DAY_MS = 86_400_000
NOON = 1_790_000_000_000


def blobs(folder: Path) -> Blobs:
    return Blobs(open_storage(str(folder)), within=5)


def key_of(data: bytes, owner: str = "sub_1", day: int = 0) -> str:
    return blob_key(needed_until_ms=NOON + day * DAY_MS, owner=owner, sha256=sha256_of(data))


async def test_what_is_read_is_what_was_written_by_whoever_opens_the_folder(tmp_path: Path) -> None:
    data = bytes(range(256)) * 40_000
    await blobs(tmp_path).put(key_of(data), data)
    await blobs(tmp_path).put(key_of(data), data)  # a helper writes the same
    assert await Blobs(open_storage(tmp_path.as_uri()), within=5).get(key_of(data), sha256_of(data)) == data


@pytest.mark.parametrize("of", [str, Path.as_uri])
async def test_in_a_folder_a_blob_is_flushed_with_its_names_before_it_counts_as_written(
    tmp_path: Path, of: Callable[[Path], str]
) -> None:
    """D13: a power cut takes no more than kill -9 does."""
    flushed: list[tuple[Path, bool]] = []
    key, folder = key_of(b"right"), tmp_path / "blobs"

    def note(path: Path) -> None:
        flushed.append((path, (folder / key).read_bytes() == b"right"))
        flush(path)

    await Blobs(open_storage(of(folder)), within=5, flush=note).put(key, b"right")
    file = folder / key
    assert flushed == [(path, True) for path in (file, file.parent, file.parent.parent, folder)]


async def test_what_can_not_be_flushed_is_not_written(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error", str(path))

    with pytest.raises(StorageAway):
        await Blobs(open_storage(str(tmp_path)), within=5, flush=fail).put(key_of(b"x"), b"x")


async def test_a_blob_that_is_not_there_or_not_the_same_is_missing(tmp_path: Path) -> None:
    stored = blobs(tmp_path)
    with pytest.raises(BlobMissing):
        await stored.get(key_of(b"never"), sha256_of(b"never"))
    await stored.put(key_of(b"right"), b"right")
    (tmp_path / key_of(b"right")).write_bytes(b"wrong")
    with pytest.raises(BlobMissing, match="other bytes"):
        await stored.get(key_of(b"right"), sha256_of(b"right"))


async def test_a_storage_that_can_not_be_written_is_away(tmp_path: Path) -> None:
    stored = blobs(tmp_path / "blobs")
    (tmp_path / "blobs").rmdir()
    (tmp_path / "blobs").write_bytes(b"a file where the folder was")
    with pytest.raises(StorageAway):
        await stored.put(key_of(b"x"), b"x")


async def test_the_sweeper_goes_by_age_alone(tmp_path: Path) -> None:
    stored = blobs(tmp_path)
    old, new = [key_of(b"old", f"sub_{n}") for n in range(3)], key_of(b"new", day=1)
    for key in old:
        await stored.put(key, b"old")
    await stored.put(new, b"new")
    (tmp_path / "not-a-day").mkdir()
    (tmp_path / "not-a-day" / "file").write_bytes(b"of somebody else")
    last_moment = kept_until_ms(old[0]) - 1
    assert await stored.sweep(last_moment) == 0
    assert await stored.sweep(last_moment + 1) == 3
    assert await stored.sweep(last_moment + 1) == 0
    assert not (tmp_path / old[0]).parent.parent.exists()
    assert (tmp_path / "not-a-day" / "file").exists()
    assert bytes(await stored.get(new, sha256_of(b"new"))) == b"new"
    with pytest.raises(BlobMissing):
        await stored.get(old[0], sha256_of(b"old"))


@pytest.mark.parametrize("url", ["nonsense://x/y", "s3://"])
def test_a_url_that_names_no_storage_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="storage"):
        open_storage(url)


def test_s3_is_opened_without_asking_it() -> None:
    assert "bucket" in repr(open_storage("s3://bucket/prefix"))
