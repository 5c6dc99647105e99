from __future__ import annotations

from enum import Enum


class Severity(Enum):
    """An error keeps a bar out of the store; a warning is counted, and the bar stays; off is not looked for."""

    ERROR = "error"
    WARNING = "warning"
    OFF = "off"

    def __str__(self) -> str:
        return self.value
