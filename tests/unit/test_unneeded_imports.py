from __future__ import annotations

import sys

from tests.support.child_processes import run

USE_ARROW = """
import sys
from marketpipe.unneeded_imports import keep_out_unneeded_imports
keep_out_unneeded_imports()
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
__name__ = "marketpipe.as_if"
arrays = [pa.array([1, None]), pa.array(["a", "b"]), pa.array(np.array([1.5, 2.5]), mask=np.array([True, False]))]
table = pa.table(arrays, names=["a", "b", "c"]).take(pa.array(np.array([1, 0])))
print("pandas" in sys.modules, pc.sum(table["c"]).as_py())
print(table.to_pandas()["b"].tolist())
"""
IMPORT_PANDAS = """
import sys
from marketpipe.unneeded_imports import allow_all_imports, keep_out_unneeded_imports
keep_out_unneeded_imports()
keep_out_unneeded_imports()
import httpx, tenacity
print(sorted({"click", "trio", "tornado"} & set(sys.modules)))
if sys.argv[1] == "let in":
    allow_all_imports()
    import pyarrow as pa
    __name__ = "marketpipe.as_if"
    pa.array([1])
    print("pandas" in sys.modules)
else:
    import exchange_calendars
    print("pandas" in sys.modules)
"""


def test_arrays_of_ours_are_made_without_pandas_and_frames_with_it() -> None:
    done = run([sys.executable, "-c", USE_ARROW], check=True)
    assert done.stdout.splitlines() == ["False 2.5", "['b', 'a']"]


def test_what_needs_pandas_gets_it() -> None:
    done = run([sys.executable, "-c", IMPORT_PANDAS, "exchange_calendars"], check=True)
    assert done.stdout.splitlines() == ["[]", "True"]


def test_arrow_looks_for_pandas_where_others_may_use_it() -> None:
    done = run([sys.executable, "-c", IMPORT_PANDAS, "let in"], check=True)
    assert done.stdout.splitlines() == ["[]", "True"]
