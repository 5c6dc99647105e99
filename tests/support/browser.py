"""A real Chromium without a window, driven by selenium; a test that needs it skips where it is not installed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.installed import require

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

WIDE, NARROW = (1440, 900), (390, 844)
LONGEST_SECONDS: Final = 60
OPTIONS: Final = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")


@contextmanager
def chromium(size: tuple[int, int] = WIDE) -> Iterator[Chrome]:
    """Yield a browser whose window has this size. Skips the test if Chromium, its driver or selenium is absent."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
    require("chromium", "chromedriver")
    options = selenium.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = selenium.Chrome(options=options, service=selenium.ChromeService(shutil.which("chromedriver")))
    try:
        resize(browser, size)
        yield browser
    finally:
        browser.quit()


def resize(browser: Chrome, size: tuple[int, int]) -> None:
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def wait_for(is_so: Callable[[], Any], what: str) -> Any:
    """Return what ``is_so`` returns as soon as that is true."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while not (found := is_so()):
        assert time.monotonic() < deadline, f"waited {LONGEST_SECONDS} s for {what}"
        time.sleep(0.02)
    return found


def complaints(browser: Chrome) -> list[str]:
    """Return what the console shows since the last call: errors, warnings, and what the policy of the page refused."""
    return [entry["message"] for entry in browser.get_log("browser")]  # type: ignore[no-untyped-call]
