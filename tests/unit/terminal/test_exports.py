from __future__ import annotations

import pytest

from marketpipe.storage.domain.compaction import CompactionReport
from marketpipe.terminal.exports import print_compaction


@pytest.mark.parametrize(("undo", "advice"), [(False, "run marketpipe compact again"), (True, "compact --undo again")])
def test_a_compaction_that_was_stopped_says_how_to_finish_it(
    undo: bool, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_compaction(CompactionReport((), stopped=True), undo=undo, as_json=False)

    assert advice in capsys.readouterr().err
