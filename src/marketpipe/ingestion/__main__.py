"""``python -m marketpipe.ingestion …`` is ``marketpipe ingest …``.

It runs the command line by name and does not import it: no context may import the layers that compose it (ADR 0003).
"""

from __future__ import annotations

import os
import runpy
import sys

sys.argv[1:1] = ["ingest"]
try:
    runpy.run_module("marketpipe", run_name="__main__", alter_sys=True)
except KeyboardInterrupt:  # before the command line could handle Ctrl-C
    os.write(2, b"interrupted\n")
    os._exit(130)
