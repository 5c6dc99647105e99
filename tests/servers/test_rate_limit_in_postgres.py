"""The rate limit that processes of several machines share, in a real PostgreSQL server."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from marketpipe.config import Credentials, PipelineConfig
from marketpipe.integration.infrastructure.rate_limits import postgres_rate_limit
from marketpipe.integration.infrastructure.rate_limits.postgres_rate_limit import PostgresRateLimit
from marketpipe.integration.infrastructure.rate_limits.rate_limiter import SLOTS, InMemoryRateLimit, RateWindow
from marketpipe.provider_registry import new_provider
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock
from marketpipe.testing import FakeClock, bars_request
from tests.contract.test_rate_limit_backends import *  # noqa: F403 - the whole contract, over another subject
from tests.contract.test_rate_limit_backends import Subject, wait_for_turn
from tests.support.alpaca_loopback import AlpacaLoopback, record
from tests.support.child_processes import start
from tests.support.postgres_server import OWNER, PostgresServer
from tests.support.rate_limited_processes import counting_server, measured


@pytest.fixture(scope="module")
def module_database(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.new_database()
    yield url
    postgres_server.drop(url)


@pytest.fixture(scope="module")
def subject(module_database: str) -> Iterator[Subject]:
    """An account for each folder; the connections of all tests are closed in the end."""
    with contextlib.ExitStack() as opened:

        def connect(folder: Path, windows: object, clock: object) -> tuple[PostgresRateLimit, PostgresRateLimit]:
            made = [PostgresRateLimit(module_database, str(folder), windows, clock, by_given_clock=True) for _ in "12"]
            for each in made:
                opened.callback(each.close)
            return made[0], made[1]

        yield Subject("in PostgreSQL", connect)


def test_no_window_of_the_provider_has_more_requests_of_eight_processes_than_the_limit(database_url: str) -> None:
    with counting_server() as provider:
        found = measured([start] * 8, database_url, provider)
    found.keeps_the_limit(processes=8)
    found.takes_turns_fast()


def test_a_crash_of_the_database_costs_one_window_and_never_a_request_too_many(
    postgres_server: PostgresServer, database_url: str
) -> None:
    clock = FakeClock()
    turns = PostgresRateLimit(database_url, "account", [RateWindow(3)], clock, by_given_clock=True)
    assert [turns.reserve(), turns.reserve(), turns.reserve()] == [0, 0, 0]
    postgres_server.restart("immediate")
    assert turns.reserve() == pytest.approx(60)
    turns.answered()
    assert turns.reserve() == pytest.approx(60)
    clock.advance(60)
    assert [turns.reserve(), turns.reserve(), turns.reserve()] == [0, 0, 0]
    assert turns.reserve() > 0
    turns.close()


def test_an_orderly_restart_of_the_database_costs_nothing(postgres_server: PostgresServer, database_url: str) -> None:
    turns = PostgresRateLimit(database_url, "account", [RateWindow(3)], FakeClock(), by_given_clock=True)
    assert turns.reserve() == 0
    postgres_server.restart("fast")
    assert [turns.reserve(), turns.reserve()] == [0, 0]
    assert turns.reserve() > 0
    turns.close()


def test_the_end_of_an_outage_is_waited_for_and_a_long_one_is_an_error(
    postgres_server: PostgresServer, database_url: str
) -> None:
    clock = FakeClock()
    turns = PostgresRateLimit(database_url, "account", [RateWindow(3)], clock, by_given_clock=True)
    assert turns.reserve() == 0
    postgres_server.stop("fast")
    begin = clock.monotonic()
    with pytest.raises(StateError, match=r"share the rate limit in postgresql://marketpipe@.*refused.*see"):
        turns.reserve()
    assert postgres_rate_limit.LONGEST_OUTAGE <= clock.monotonic() - begin < postgres_rate_limit.LONGEST_OUTAGE + 1
    postgres_server.start()
    assert turns.reserve() == 0
    turns.close()


def test_a_clock_of_the_database_that_is_put_back_gives_no_request_too_many_and_waits_one_window(
    database_url: str,
) -> None:
    late, early = FakeClock(), FakeClock()
    late.advance(10_000)
    turns, others = (
        PostgresRateLimit(database_url, "account", [RateWindow(1)], clock, by_given_clock=True)
        for clock in (late, early)
    )
    assert turns.reserve() == 0
    assert others.reserve() == pytest.approx(60)
    early.advance(60)
    assert others.reserve() == 0
    turns.close()
    others.close()


def test_accounts_and_databases_know_nothing_of_each_other(database_url: str) -> None:
    clock = SystemClock()
    made = [PostgresRateLimit(database_url, account, [RateWindow(1)], clock) for account in ("one", "other")]
    assert [turns.reserve() for turns in made] == [0, 0]
    assert all(59 < turns.reserve() <= 60 for turns in made)
    for turns in made:
        turns.close()


def test_slots_are_used_again_and_the_limit_holds_over_their_end(database_url: str) -> None:
    clock, windows = FakeClock(), [RateWindow(3)]
    turns = PostgresRateLimit(database_url, "account", windows, clock, by_given_clock=True)
    turns.pause(0)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE marketpipe.rate_limits SET requests = %s", (SLOTS - 5,))
    expected = InMemoryRateLimit(windows, in_memory := FakeClock())
    given = list[tuple[float, float]]()
    for _ in range(12):
        given.append((wait_for_turn(turns, clock), wait_for_turn(expected, in_memory)))
        clock.advance(7)
        in_memory.advance(7)
    turns.close()
    assert [one for one, _ in given] == pytest.approx([other for _, other in given], abs=0.01)


def test_what_an_earlier_version_has_made_is_used_on_and_stays(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(postgres_rate_limit.SETUP.replace("_2(", "_1("))
        connection.execute("SELECT * FROM marketpipe.rate_limit_reserve_1('account', '{2}', '{60000000}', 0, 0)")
        turns = PostgresRateLimit(database_url, "account", [RateWindow(2)], FakeClock(), by_given_clock=True)
        assert turns.reserve() == 0
        assert turns.reserve() > 0
        turns.close()
        wait = connection.execute(
            "SELECT wait > 0 FROM marketpipe.rate_limit_reserve_1('account', '{2}', '{60000000}', 0, 0)"
        ).fetchone()
    assert wait == (True,)


def test_a_database_that_was_restored_without_the_tables_of_the_limit_gets_them_again(database_url: str) -> None:
    with contextlib.closing(PostgresRateLimit(database_url, "account", [RateWindow(1)], FakeClock())) as turns:
        assert turns.reserve() == 0
    with psycopg.connect(database_url, autocommit=True) as connection:
        for name in ("rate_limits", "rate_limit_requests", "rate_limit_accounts"):
            connection.execute(f"DROP TABLE marketpipe.{name}")  # type: ignore[arg-type]
    with contextlib.closing(PostgresRateLimit(database_url, "account", [RateWindow(1)], FakeClock())) as turns:
        assert turns.reserve() == 0
        assert turns.reserve() > 0


def test_a_user_to_whom_the_schema_belongs_needs_no_right_to_make_one(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    as_superuser = url.replace(f"{OWNER}@", "postgres@")
    with psycopg.connect(as_superuser, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {url.rpartition('/')[2]} OWNER TO postgres")
        connection.execute(f"CREATE SCHEMA marketpipe AUTHORIZATION {OWNER}")
    turns = PostgresRateLimit(url, "account", [RateWindow(1)], SystemClock())
    assert turns.reserve() == 0
    turns.close()
    postgres_server.drop(url)


def test_a_user_without_rights_is_told_so(postgres_server: PostgresServer) -> None:
    turns = PostgresRateLimit(
        postgres_server.url(user=OWNER), "account", [RateWindow(1)], FakeClock(), by_given_clock=True
    )
    with pytest.raises(StateError, match="permission denied for database postgres; see whether"):
        turns.reserve()
    turns.close()


def test_providers_of_configurations_with_the_same_database_share_the_limit_of_an_account(
    database_url: str, tmp_path: Path
) -> None:
    with AlpacaLoopback({"AAPL": [record("2024-03-04T15:00:00Z")]}) as alpaca:
        for number, key in enumerate(("AKONE", "AKONE", "AKOTHER")):
            settings = {"base_url": alpaca.url, "rate_limit_per_min": 100}
            values: dict[str, Any] = {"provider": "alpaca", "symbols": ["AAPL"], "alpaca": settings}
            values |= {"start": "2024-03-04", "end": "2024-03-04", "output_path": tmp_path / str(number) / "data"}
            config = PipelineConfig(**values, state_path=Path(database_url))
            provider = new_provider(config, Credentials(key, "secret"), SystemClock(), lambda _: None)
            [*provider.fetch_batch(bars_request(["AAPL"], "2024-03-04", "2024-03-04"))]
            provider.close()
    with psycopg.connect(database_url) as connection:
        used = connection.execute("SELECT account, requests FROM marketpipe.rate_limits").fetchall()
    assert sorted(requests for _, requests in used) == [1, 2]
    assert all(re.fullmatch("alpaca-[0-9a-f]{32}", account) for account, _ in used)
