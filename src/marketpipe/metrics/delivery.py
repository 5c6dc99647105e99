"""Metrics of short runs, which Prometheus cannot scrape: a file for node_exporter, and a push to a Pushgateway."""

from __future__ import annotations

import glob
import http.client
import re
import threading
import urllib.error
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, push_to_gateway, write_to_textfile
from prometheus_client.exposition import default_handler

from marketpipe.shared_kernel.domain.errors import MetricsDeliveryError

JOB: Final = "marketpipe"
"""The value of the label ``job`` in a Pushgateway."""
TIMEOUT_SECONDS: Final = 10.0
LONGEST_REASON: Final = 300
LONGEST_WRITING_SECONDS: Final = 60.0
FAILURES: Final = (OSError, ValueError, http.client.HTTPException)


def write_textfile(path: Path, registry: CollectorRegistry) -> None:
    """Replace the file as a whole: a reader sees the old metrics or the new ones. Raises ``MetricsDeliveryError``."""
    try:
        write_to_textfile(str(path), registry)
        _remove_leftovers(path)
    except OSError as error:
        raise MetricsDeliveryError(
            f"metrics.textfile: {path} cannot be written ({error.strerror}); make its folder, and let this user write "
            "there, or correct the path"
        ) from error


def _remove_leftovers(path: Path) -> None:
    """Remove what processes that were killed while they wrote have left: the file with two numbers after its name."""
    written = path.stat().st_mtime
    for left in path.parent.glob(f"{glob.escape(path.name)}.*.*"):
        is_numbered = re.fullmatch(r"\.\d+\.\d+", left.name.removeprefix(path.name)) is not None
        if is_numbered and left.stat().st_mtime < written - LONGEST_WRITING_SECONDS:
            left.unlink(missing_ok=True)


def push(url: str, store: str, registry: CollectorRegistry, seconds: float = TIMEOUT_SECONDS) -> None:
    """Replace the group of this store in the Pushgateway, within ``seconds``. Raises ``MetricsDeliveryError``."""

    def limited(**request: Any) -> Callable[[], None]:
        return partial(_send_within, seconds, default_handler(**request))

    try:
        push_to_gateway(url, JOB, registry, {"store": store}, seconds, limited)
    except FAILURES as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise MetricsDeliveryError(
            f"metrics.pushgateway: {url} did not take the metrics ({reason}); see whether a Pushgateway runs "
            "there, or correct the URL"
        ) from error


def _send_within(seconds: float, send: Callable[[], None]) -> None:
    """Send on a thread that is left alone after ``seconds``: the time limit of a socket is that of each single byte."""
    failures = list[Exception]()

    def run() -> None:
        try:
            send()
        except urllib.error.HTTPError as error:  # its body says what is wrong, such as that a value is inconsistent
            answer = error.read(LONGEST_REASON).decode(errors="replace").strip()
            failures.append(OSError(f"{error}: {answer}"))
        except FAILURES as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="marketpipe-push", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"it did not answer within {seconds:g} s")
    if failures:
        raise failures[0]
