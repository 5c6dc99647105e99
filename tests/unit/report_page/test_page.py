from __future__ import annotations

import re
import sys
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from marketpipe.ingestion.domain.coverage.verdict import Verdict
from marketpipe.report_page.page import HERE, SCRIPTS, chart_library, packed_library
from tests.support.child_processes import run

STYLES = (HERE / "assets" / "page.css").read_text("utf-8")
EYES = {
    "usual": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "without red": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "without green": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "without blue": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}
"""How linear red, green and blue are seen, after Machado, Oliveira and Fernandes (2009)."""
TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
WHITE = (0.9505, 1.0, 1.089)
LEAST_DISTANCE = 14.0
"""In CIE Lab; 2.3 is just noticeable."""


def seen(colour: str, eye: Any) -> np.ndarray[Any, Any]:
    parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(np.array(TO_XYZ) @ np.clip(np.array(eye) @ linear, 0, 1) / WHITE)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def palettes() -> list[dict[str, str]]:
    """Return the colours of the verdicts in light, in dark by the system, and in dark by the button."""
    blocks = [dict(re.findall(r"--v-(\w+): (#\w{6})", block)) for block in STYLES.split("}")]
    return [block for block in blocks if block]


@pytest.mark.parametrize("eye", EYES)
def test_no_two_verdicts_look_alike_to_any_eyes(eye: str) -> None:
    found = palettes()
    assert len(found) == 3
    assert found[1] == found[2]
    for palette in found:
        assert set(palette) == {str(verdict) for verdict in Verdict}
        for one, other in combinations(palette, 2):
            distance = np.linalg.norm(seen(palette[one], EYES[eye]) - seen(palette[other], EYES[eye]))
            assert distance > LEAST_DISTANCE, (one, other)


def test_every_script_is_in_the_page_and_none_ends_its_element() -> None:
    files = {path.stem for path in (HERE / "assets").glob("*.js")}
    assert files == set(SCRIPTS)
    for name in SCRIPTS:
        text = (HERE / "assets" / f"{name}.js").read_text("utf-8")
        assert "</script" not in text.lower()
        assert "<!--" not in text
        assert "innerHTML" not in text, "names and reasons come from outside"
        assert len(text.splitlines()) <= 450


def test_without_the_extra_the_command_says_what_to_install_before_it_reads_anything() -> None:
    for absent in ("jinja2", "plotly"):
        code = f"""
import sys
sys.modules[{absent!r}] = None
from marketpipe import ConfigurationError
from marketpipe.report_page.page import check_installed
try:
    check_installed()
except ConfigurationError as error:
    sys.exit(f"refused: {{error}}")
"""
        assert (
            "refused: the report page needs Jinja2 and plotly: pip install" in run([sys.executable, "-c", code]).stderr
        )


def test_the_chart_library_is_far_smaller_than_six_megabytes() -> None:
    assert len(packed_library()) < 2_500_000
    assert len(chart_library()) < 6_000_000
