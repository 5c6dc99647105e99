from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest

from marketpipe.ingestion.domain.coverage.verdict import Evidence, Verdict
from marketpipe.report_page.payload import EVIDENCE, MEANINGS, packed


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 255], "u1"),
        ([0, 256], "i2"),
        ([-1, 5], "i2"),
        ([0, 70_000], "i4"),
        ([-70_000], "i4"),
        ([], "i8"),
    ],
)
def test_whole_numbers_take_as_few_bytes_as_they_need(values: list[int], kind: str) -> None:
    found = packed(np.array(values, np.int64))

    assert found["kind"] == kind
    planes = np.frombuffer(zlib.decompress(base64.b64decode(found["data"])), np.uint8)
    size = np.dtype(kind).itemsize
    assert np.frombuffer(planes.reshape(size, -1).T.tobytes(), kind).tolist() == values


def test_a_column_without_any_number_is_nothing() -> None:
    assert packed(np.full((2, 3), np.nan, np.float32)) == {"kind": "nothing"}
    assert packed(np.zeros((0, 3), np.float32)) == {"kind": "nothing"}


def test_every_verdict_and_all_evidence_have_a_meaning() -> None:
    assert list(MEANINGS) == [str(verdict) for verdict in Verdict]
    assert list(EVIDENCE) == [str(Evidence.NOTHING), *map(str, Evidence)]
