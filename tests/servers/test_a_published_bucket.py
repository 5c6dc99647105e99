"""The commands over real servers of S3: months become objects, and others read the table that is published of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli_process import marketpipe
from tests.support.s3_servers import S3Server

deltalake = pytest.importorskip("deltalake")
polars = pytest.importorskip("polars")

SYMBOLS = ("AAPL", "MSFT")
SPAN = {"start": "2024-01-02", "end": "2024-03-05"}


def test_a_bucket_is_compacted_published_and_swept(s3_server: S3Server, tmp_path: Path) -> None:
    place = f"s3://{s3_server.new_bucket()}/a/store"
    config = tmp_path / "marketpipe.yaml"
    places = {"output_path": place, "state_path": f"{tmp_path}/a.sqlite"}
    config.write_text(json.dumps({"provider": "synthetic", "symbols": SYMBOLS, **SPAN, **places}))

    def answer(*command: str) -> Any:
        done = marketpipe(*command, "--config", str(config), "--json", cwd=tmp_path, env=dict(s3_server.environment))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def rows(symbol: str) -> int:
        options = {**s3_server.environment, "AWS_ALLOW_HTTP": "true"}
        table = deltalake.DeltaTable(f"{place}/objects/delta", storage_options=options)
        scanned = polars.scan_delta(table).filter(polars.col("symbol") == symbol).collect()
        filters = [("symbol", "=", symbol)]
        assert table.to_pyarrow_table(filters=filters).num_rows == scanned.height
        return int(scanned.height)

    answer("ingest")
    first = answer("publish-delta")
    stored = rows("AAPL")
    assert (first["version"], first["copied"]) == (0, first["objects"])
    assert stored > 40 * 300

    assert len(answer("compact")["months"]) == 2 * len(SYMBOLS) + len(SYMBOLS)
    second = answer("publish-delta")
    assert (second["version"], second["rows"], second["copied"]) == (1, first["rows"], 0)
    assert rows("AAPL") == stored

    answer("gc", "--grace", "0s", "--alone")
    assert rows("AAPL") == stored
    assert answer("verify")["problems"] == []
