"""The lines of the log on standard error, as text or as JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from marketpipe.shared_kernel.domain.secret_text import visible

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def handler(*, as_json: bool) -> logging.Handler:
    """Return a handler that writes to standard error: lines of text, or one JSON object a line."""
    made = logging.StreamHandler()
    made.setFormatter(_JsonLines() if as_json else _TextLines(TEXT))
    return made


def as_json(record: logging.LogRecord) -> str:
    """Return the record as a JSON object: time (RFC 3339, UTC), level, logger, message; exception if there is one."""
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    fields = {
        "time": moment,
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage(),
    }
    if record.exc_info:
        fields["exception"] = logging.Formatter().formatException(record.exc_info)
    return json.dumps(fields)


class WarningLines(logging.Handler):
    """Gives each record to ``write``, as a line of text and its level."""

    def __init__(self, write: Callable[[str, str], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(f"{record.levelname.lower()}: {visible(record.getMessage())}", record.levelname)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return as_json(record)


class _TextLines(logging.Formatter):
    """Lines that cannot move the cursor of a terminal: a message may quote what a provider sent."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return visible(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return "\n".join(map(visible, super().formatException(ei).splitlines()))
