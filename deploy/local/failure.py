"""What a person is told when the local stack can't run: one sentence that says what to do. Never a traceback."""

from pathlib import Path


class CannotRunError(Exception):
    """The stack, or a part of it, can't run. The message is for the person at the terminal."""


def unusable(folder: Path, error: OSError) -> CannotRunError:
    """The sentence for a folder that can't be written: no space, no right, no folder."""
    reason = (error.strerror or str(error)).lower()
    return CannotRunError(
        f"{error.filename or folder} can't be used ({reason}): free disk space there, or set RUN_DIR to a folder of your own."
    )
