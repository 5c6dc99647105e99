from __future__ import annotations

import sys

from tests.support.child_processes import run

USE_ARROW = """
import sys
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from marketpipe.worker_pool import leave_pandas_out
leave_pandas_out()
arrays = [pa.array([1, None]), pa.array(["a", "b"]), pa.array(np.array([1.5, 2.5]), mask=np.array([True, False]))]
table = pa.table(arrays, names=["a", "b", "c"]).take(pa.array(np.array([1, 0])))
print("pandas" in sys.modules, pc.sum(table["c"]).as_py())
print(table.to_pandas()["b"].tolist())
"""


def test_arrays_are_made_without_pandas_and_frames_with_it() -> None:
    done = run([sys.executable, "-c", USE_ARROW], check=True)
    assert done.stdout.splitlines() == ["False 2.5", "['b', 'a']"]
