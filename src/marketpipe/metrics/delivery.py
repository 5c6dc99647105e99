"""Metrics of short runs, which Prometheus cannot scrape: a file for node_exporter, and a push to a Pushgateway."""

from __future__ import annotations

import http.client
import urllib.error
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, push_to_gateway, write_to_textfile

from marketpipe.shared_kernel.domain.errors import MetricsDeliveryError

JOB: Final = "marketpipe"
"""The value of the label ``job`` in a Pushgateway."""
TIMEOUT_SECONDS: Final = 10.0
LONGEST_REASON: Final = 300


def write_textfile(path: Path, registry: CollectorRegistry) -> None:
    """Replace the file as a whole: a reader sees the old metrics or the new ones. Raises ``MetricsDeliveryError``."""
    try:
        write_to_textfile(str(path), registry)
    except OSError as error:
        raise MetricsDeliveryError(
            f"metrics.textfile: {path} cannot be written ({error.strerror}); make its folder, and let this user write "
            "there, or correct the path"
        ) from error


def push(url: str, store: str, registry: CollectorRegistry) -> None:
    """Replace the group of this store in the Pushgateway. Raises ``MetricsDeliveryError``."""
    try:
        push_to_gateway(url, JOB, registry, {"store": store}, TIMEOUT_SECONDS)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise MetricsDeliveryError(
            f"metrics.pushgateway: {url} did not take the metrics ({_reason(error)}); see whether a Pushgateway runs "
            "there, or correct the URL"
        ) from error


def _reason(error: Exception) -> str:
    """Return what the Pushgateway answered, such as that a value is inconsistent, or why it was not reached."""
    if isinstance(error, urllib.error.HTTPError):
        return f"{error}: {error.read(LONGEST_REASON).decode(errors='replace').strip()}"
    return str(error.reason if isinstance(error, urllib.error.URLError) else error)
