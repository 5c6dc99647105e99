"""A folder that may not be read: of one symbol, the others are checked; of all, nothing passes for gone."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.support.child_processes import run

AS_NOBODY = """
import json, os, sys
from pathlib import Path
from marketpipe import MarketPipeError
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider
root = Path(sys.argv[1])
settings = config(root, ["AAPL", "MSFT"], "2024-01-02", "2024-01-02", timeframes=["5m"])
bars = {symbol: {"2024-01-02": minutes("2024-01-02", 390)} for symbol in ("AAPL", "MSFT")}
with pipeline(settings, ScriptedProvider(bars)) as first:
    first.ingest()
    first.coverage(), first.verify(), first.plan()  # the other user may not read what they import
for path in (root, *root.rglob("*")):
    path.chmod(0o777)
data = settings.output_path
places = [data / "symbol=AAPL", data / "symbol=AAPL" / "year=2024" / "month=01", data, settings.aggregates_path]
places += [settings.state_path.parent, root]
for place in places:
    place.chmod(0)
    if (child := os.fork()) == 0:
        os.setgid(65534), os.setuid(65534)
        found = {}
        with pipeline(settings, ScriptedProvider(bars)) as store:
            for name in ("coverage", "verify", "plan", "status"):
                try:
                    found[name] = getattr(store, name)()
                except MarketPipeError as error:
                    found[name] = str(error)
        days = getattr(found["coverage"], "days", list)()
        verdicts = [f"{day.symbol_day.symbol} {day.finding.suspicion or day.verdict}" for day in days]
        problems = [f"{each.path} {each.damage}" for each in getattr(found["verify"], "problems", ())]
        refused = [answer for answer in found.values() if isinstance(answer, str)]
        print(json.dumps([verdicts, problems, str(found["plan"]), getattr(found["coverage"], "lost", ()), refused]))
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
    place.chmod(0o777)
"""


@pytest.mark.skipif(not hasattr(os, "setuid") or os.getuid() != 0, reason="only root can become another user")
def test_a_folder_that_may_not_be_read_costs_its_own_verdicts_alone(readable_folder: Path) -> None:
    command = [sys.executable, "-c", AS_NOBODY, str(readable_folder / "store")]
    done = run(command, cwd=Path(__file__).parents[2], check=True)
    of_symbol, of_month, of_all, of_aggregates, *of_state = map(json.loads, done.stdout.splitlines())

    for verdicts, problems, plan, _, _ in (of_symbol, of_month):
        assert verdicts == ["AAPL cannot be read", "MSFT complete"]
        assert problems == ["data/symbol=AAPL unreadable"]
        assert "cannot read" in plan
        assert plan.count("symbol=AAPL") == 1
    assert of_all[0] == ["AAPL cannot be read", "MSFT cannot be read"]
    assert "cannot read" in of_all[2]  # it must not request the whole store again
    assert of_aggregates[0] == ["AAPL complete", "MSFT complete"]
    assert len(of_aggregates[3]) == 2
    assert [len(refused) for *_, refused in of_state] == [4, 4]  # of the state, and of the whole store
    assert all(text.startswith("the state file ") and "allow writing there" in text for text in of_state[0][-1])
    assert all("Permission denied" in text for text in of_state[1][-1])
