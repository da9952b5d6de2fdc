"""What a command says instead of a traceback."""

from typing import Final

FAILED: Final = 1
WRONG_USE: Final = 2
NOT_RUNNING: Final = 3


class Trouble(Exception):
    """Ends the command with a line for the person and an exit code: 1 failed, 2 wrong use, 3 nothing is running."""

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text)
        self.code = code
