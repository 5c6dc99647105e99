from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.answered_queries import AnsweredQuery, QueryOfDuckDBAlone, made, queries_of
from tests.support.examples import some_params


@pytest.fixture(scope="module", params=some_params(["arrow", "parquet"]))
def queries(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[AnsweredQuery, QueryOfDuckDBAlone]]:
    """Queries of one store with read copies, in either form: with and without the answers that need no DuckDB."""
    with queries_of(made(tmp_path_factory.mktemp("store"), request.param)) as found:
        yield found
