"""What a person is told when the local stack can't run: one sentence that says what to do. Never a traceback."""


class CannotRunError(Exception):
    """The stack, or a part of it, can't run. The message is for the person at the terminal."""
