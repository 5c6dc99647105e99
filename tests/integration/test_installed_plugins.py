"""A provider that an installed package registers: where its secret comes from, and when it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from marketpipe.plugin_skeleton.writer import write_plugin
from marketpipe.testing import LoopbackRequest, LoopbackServer, Market, Response, invented_market
from tests.support.in_process_cli import run_in_process

DAY, TOKEN = "2024-03-11", "t0ken-of-acme"
READING = (
    ("coverage",),
    ("status",),
    ("validate",),
    ("verify",),
    ("export", "bars.csv"),
    ("query", "SELECT count(*) FROM bars"),
)


def respond(request: LoopbackRequest) -> Response:
    """Answer in the protocol of a new package."""
    if request.headers.get("authorization") != f"Bearer {TOKEN}":
        return Response(401, {"message": f"not {request.headers.get('authorization', 'Bearer ')[len('Bearer ') :]}"})
    market: Market = invented_market(("AAPL", "MSFT"), DAY, DAY)
    rows = (market.official if request.query["timeframe"] == "1d" else market.bars)["AAPL"]
    names = ("open", "high", "low", "close", "volume")
    times = [int(row["timestamp"].timestamp() * 1000) for row in rows]
    bars = [
        {"symbol": "AAPL", "time": time, **{name: row[name] for name in names}}
        for time, row in zip(times, rows, strict=True)
        if int(request.query["start"]) <= time < int(request.query["end"])
    ]
    return Response(body={"bars": bars, "next": None})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a folder with a configuration for the provider acme, whose package is installed and whose server runs."""
    sources = write_plugin("acme", tmp_path / "package").folder / "src"
    registered = sources / "marketpipe_acme-0.1.0.dist-info"
    registered.mkdir()
    (registered / "METADATA").write_text("Name: marketpipe-acme\nVersion: 0.1.0\n")
    (registered / "entry_points.txt").write_text("[marketpipe.providers]\nacme = marketpipe_acme:make_acme\n")
    monkeypatch.syspath_prepend(str(sources))
    root = tmp_path / "store"
    root.mkdir()
    with LoopbackServer(respond) as server:
        settings = f"provider: acme\nacme: {{base_url: '{server.url}'}}\nsymbols: [AAPL]\nstart: {DAY}\nend: {DAY}\n"
        (root / "marketpipe.yaml").write_text(settings)
        yield root


def test_the_secret_of_a_plugin_comes_from_dotenv_and_is_needed_only_to_request(folder: Path) -> None:
    refused = run_in_process("ingest", cwd=folder)
    assert (refused.code, f"set ACME_TOKEN in the environment or in {folder / '.env'}" in refused.err) == (2, True)
    assert not (folder / "data").exists()
    secrets = folder / ".env"
    secrets.write_text(f"ACME_TOKEN={TOKEN}\n")
    secrets.chmod(0o600)
    ended = run_in_process("ingest", cwd=folder)
    assert (ended.code, "1 complete" in ended.out) == (0, True), ended.err
    secrets.unlink()
    for words in READING:
        read = run_in_process(*words, cwd=folder)
        assert (read.code, "ACME_TOKEN" in read.err) == (0, False), read.err


def test_a_refused_secret_shows_nowhere(folder: Path) -> None:
    (folder / ".env").write_text("ACME_TOKEN=wr0ng-of-acme\n")
    (folder / ".env").chmod(0o600)
    ended = run_in_process("-v", "--debug", "ingest", cwd=folder)
    assert (ended.code, "401: not ***" in ended.err) == (1, True), ended.err
    assert "wr0ng" not in ended.out + ended.err
