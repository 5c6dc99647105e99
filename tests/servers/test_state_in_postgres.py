"""The state in PostgreSQL while its server is restarted, is away, or is cut off; and the processes that share it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from attrs import evolve

from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.ingestion.domain.store_status import StateCondition
from marketpipe.ingestion.infrastructure.postgres import postgres_schema
from marketpipe.ingestion.infrastructure.postgres.postgres_database import PostgresDatabase
from marketpipe.ingestion.infrastructure.postgres.postgres_rows import PostgresRows
from marketpipe.ingestion.infrastructure.postgres.postgres_state import PostgresState, PostgresStoredState
from marketpipe.ingestion.infrastructure.postgres.sessions import LONGEST_OUTAGE, Session
from marketpipe.ingestion.infrastructure.postgres.transactions import Transaction
from marketpipe.ingestion.infrastructure.sql import state_rows
from marketpipe.shared_kernel.domain.errors import DatasetMismatchError, StateError, StoreBusyError
from marketpipe.shared_kernel.domain.object_catalog import AppendedLines, CatalogChange, PlacedFile
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import SessionHours, SessionKind, TradingDate
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE
from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock
from tests.support.builders import day
from tests.support.checkpoints import CHECKED_AT as NOW
from tests.support.checkpoints import answer, record
from tests.support.child_processes import run, wait_until
from tests.support.postgres_server import PASSWORD, WITH_PASSWORD, PostgresServer, running_postgres
from tests.support.postgres_states import connected, states_in

ROOT = Path(__file__).parents[2]
LEASE = timedelta(minutes=10)
MONDAY = day("AAPL", "2024-01-02")
WANTED = {MONDAY: SessionHours.EXTENDED}
FILE = PlacedFile("data/symbol=AAPL/year=2024/month=01/day=02.parquet", "objects/0a", 0, 10, 1)


@pytest.fixture
def state(database_url: str) -> Iterator[PostgresState]:
    with states_in(database_url) as states:
        yield states.open("../data")


def dates_of(state: PostgresState) -> list[str]:
    span = TradingDate.parse("2024-01-01"), TradingDate.parse("2024-12-31")
    return [str(date) for date in state.checkpoints.between(Symbol("AAPL"), *span)]


def value_of(url: str, query: str) -> Any:
    with connected(url) as connection:
        row = connection.execute(query).fetchone()  # type: ignore[call-overload]
    return row and row[0]


# --- the connection is lost
def test_a_server_that_is_restarted_again_and_again_costs_nothing_that_was_recorded(
    state: PostgresState, postgres_server: PostgresServer, database_url: str
) -> None:
    dates = [f"2024-{month:02d}-{number:02d}" for month in range(1, 7) for number in range(1, 29)]
    done, errors = list[str](), list[StateError]()

    def write(some: list[str]) -> None:
        for date in some:
            try:
                record(state, [answer("AAPL", date)])
            except StateError as error:
                errors.append(error)
            done.append(date)

    job = state.jobs.open(_scope(), NOW, len(dates))
    threads = [threading.Thread(target=write, args=(dates[number::4],)) for number in range(4)]
    for thread in threads:
        thread.start()
    restarts = 0
    while any(thread.is_alive() for thread in threads) and restarts < 20:
        postgres_server.restart("immediate")
        restarts += 1
        time.sleep(0.05)
    for thread in threads:
        thread.join()

    assert (errors, restarts > 1) == ([], True)
    assert dates_of(state) == sorted(dates)
    # Each was counted once, also those whose commit was done when the answer to it was lost.
    assert value_of(database_url, f"SELECT done FROM jobs WHERE job_id = {job}") == len(dates)


class _LosingSession(Session):
    """Its first commit is lost: with or without its effect."""

    losses = 1
    arrives = True

    def connected(self) -> Any:
        return _Losing(super().connected(), self)


class _Losing:
    def __init__(self, connection: Any, session: _LosingSession) -> None:
        self._connection, self._session = connection, session

    def execute(self, statement: str, *values: Any) -> Any:
        if statement == "COMMIT" and self._session.losses:
            self._session.losses -= 1
            if self._session.arrives:
                self._connection.execute("COMMIT")
            self._connection.close()
            raise psycopg.OperationalError("the connection is lost")
        return self._connection.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.mark.parametrize("arrives", [True, False])
def test_a_commit_whose_answer_is_lost_takes_place_once(state: PostgresState, database_url: str, arrives: bool) -> None:
    session = _LosingSession(database_url, "tests", "tests/1")
    session.arrives = arrives
    transaction = Transaction(session, (state._database.store_id, "../data"))

    transaction.begin()
    transaction.execute("UPDATE stores SET changes = changes + ? WHERE location = ?", (1, "../data"))
    transaction.commit()
    session.disconnect()

    assert (session.losses, session.number) == (0, 1)
    assert value_of(database_url, "SELECT changes FROM stores WHERE location = '../data'") == 1


def test_a_transaction_that_was_idle_for_too_long_goes_on(state: PostgresState, database_url: str) -> None:
    """As while a bucket does not answer: the server ends the transaction, and says so with a code of its own."""
    session = Session(database_url, "tests", "tests/1")
    session.connected().execute("SET idle_in_transaction_session_timeout = '50ms'")
    transaction = Transaction(session, (state._database.store_id, "../data"))

    transaction.begin()
    transaction.execute("UPDATE stores SET changes = changes + ? WHERE location = ?", (1, "../data"))
    ended = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'marketpipe tests/1'"
    wait_until(lambda: value_of(database_url, ended) == 0)
    transaction.execute("UPDATE stores SET changes = changes + ? WHERE location = ?", (1, "../data"))
    transaction.commit()
    session.disconnect()

    assert value_of(database_url, "SELECT changes FROM stores WHERE location = '../data'") == 2


def test_a_transaction_that_would_read_something_else_after_the_loss_is_not_committed(
    state: PostgresState, database_url: str
) -> None:
    session = _LosingSession(database_url, "tests", "tests/1")
    session.arrives = False
    transaction = Transaction(session, (state._database.store_id, "../data"))

    transaction.begin()
    (before,) = transaction.execute("SELECT changes FROM stores WHERE location = ?", ("../data",)).fetchall()
    record(state, [answer("MSFT", "2024-01-02")])
    transaction.execute("UPDATE stores SET provider = 'doubled' WHERE location = ?", ("../data",))
    with pytest.raises(StateError, match="others have changed meanwhile"):
        transaction.commit()
    session.disconnect()

    assert before == (0,)
    assert value_of(database_url, "SELECT provider FROM stores WHERE location = '../data'") is None


def test_taking_leases_is_tried_again_if_others_have_changed_what_was_read(state: PostgresState) -> None:
    """The whole step is repeated, and not only its statements."""
    attempts = list[int]()

    def write(connection: Any) -> int:
        attempts.append(len(attempts))
        ((changes,),) = connection.execute("SELECT changes FROM stores WHERE location = ?", ("../data",)).fetchall()
        if len(attempts) == 1:
            record(state, [answer("MSFT", "2024-01-02")])
            connection._session.disconnect()
        connection.execute("UPDATE stores SET provider = 'x' WHERE location = ?", ("../data",))
        return int(changes)

    assert state._database.carry_out(write) == 1
    assert len(attempts) == 2


def test_a_server_that_stays_away_is_a_clear_error_and_its_return_is_found() -> None:
    waited = list[float]()

    def pause(seconds: float) -> None:
        waited.append(seconds)

    machine = evolve(HERE, monotonic=lambda: sum(waited), pause=pause)
    with running_postgres() as server:
        url = server.new_database()
        state = PostgresState(url, "../data", SystemClock(), machine)
        record(state, [answer("AAPL", "2024-01-02")])
        server.stop()
        with pytest.raises(StateError, match=r"cannot be reached: .*the same command asks only for the rest") as raised:
            record(state, [answer("AAPL", "2024-01-03")])
        assert url in str(raised.value)
        assert LONGEST_OUTAGE < sum(waited) < LONGEST_OUTAGE * 1.5
        # What ends the command does not wait again.
        waited.append(0.0)
        before = len(waited)
        with pytest.raises(StateError, match="cannot be reached"):
            dates_of(state)
        with pytest.raises(StateError, match="cannot be reached"):
            state.leases.release(1)
        assert len(waited) == before

        server.start()
        record(state, [answer("AAPL", "2024-01-04")])
        assert dates_of(state) == ["2024-01-02", "2024-01-04"]
        state.close()


# --- holders and their leases
def test_the_leases_of_a_living_process_outlive_an_outage_of_the_server() -> None:
    """Nobody could give a sign of life while the server was away: nobody is dead for that."""
    with running_postgres() as server, states_in(server.new_database()) as states:
        one, other = states.open("../data"), states.open("../data")
        one.leases.take(WANTED, None, NOW, NOW.plus(LEASE))
        _silence(one)
        with connected(states.url) as connection:
            connection.execute("UPDATE holders SET beat = beat - 60000000")

        server.restart("immediate")

        assert other.leases.take(WANTED, None, NOW, NOW.plus(LEASE)).busy == {MONDAY}


def test_a_process_that_gives_no_sign_of_life_is_dead_after_a_while(state: PostgresState, database_url: str) -> None:
    with states_in(database_url) as states:
        other = states.open("../data")
        other.leases.take(WANTED, None, NOW, NOW.plus(LEASE))
        assert state.leases.take(WANTED, None, NOW, NOW.plus(LEASE)).busy == {MONDAY}
        assert state.leases.count(NOW) == 1
        _silence(other)
        _set_clock(database_url, state, 29)
        assert state.leases.take(WANTED, None, NOW, NOW.plus(LEASE)).busy == {MONDAY}

        _set_clock(database_url, state, 31)

        assert state.leases.count(NOW) == 0
        assert state.leases.take(WANTED, None, NOW, NOW.plus(LEASE)).ours == {MONDAY}


def test_of_a_worker_that_was_cut_off_for_too_long_nothing_is_visible(state: PostgresState, database_url: str) -> None:
    with states_in(database_url) as states:
        late = states.open("../data")
        lease = late.leases.take(WANTED, None, NOW, NOW.plus(LEASE)).lease
        assert late.leases.pin(lease, NOW.plus(LEASE))
        _silence(late)
        _set_clock(database_url, state, 31)
        assert state.leases.take(WANTED, None, NOW, NOW.plus(LEASE)).ours == {MONDAY}

        with pytest.raises(StoreBusyError):
            _store_late(late, lease)

        assert (state.file_catalog.find(FILE.path), dates_of(state)) == (None, [])


def test_a_worker_that_is_cut_off_in_the_middle_of_its_transaction_holds_nobody_up(
    state: PostgresState, database_url: str
) -> None:
    with states_in(database_url) as states:
        late, other_day = states.open("../data"), day("AAPL", "2024-01-03")
        lease = late.leases.take(WANTED, None, NOW, NOW.plus(LEASE)).lease
        with late.together():
            assert late.leases.pin(lease, NOW.plus(LEASE))
            _silence(late)
            _set_clock(database_url, state, 31)
            taken = state.leases.take({**WANTED, other_day: SessionHours.EXTENDED}, None, NOW, NOW.plus(LEASE))
            assert (taken.ours, taken.busy) == ({other_day}, {MONDAY})


def test_two_holders_never_have_the_same_day_whatever_a_process_writes(state: PostgresState, database_url: str) -> None:
    state.leases.take(WANTED, None, NOW, NOW.plus(LEASE))
    with connected(database_url) as connection, pytest.raises(psycopg.errors.ExclusionViolation):
        connection.execute(
            "WITH other AS (INSERT INTO leases (store_id, holder, until) SELECT store_id, 'other', 1 FROM stores "
            "RETURNING *) INSERT INTO leased_days SELECT lease_id, store_id, 'AAPL', holder, "
            "datemultirange(daterange('2024-01-01', '2024-01-05')) FROM other"
        )


def test_a_process_that_leaves_takes_all_its_leases_with_it(state: PostgresState, database_url: str) -> None:
    with states_in(database_url) as states:
        states.open("../data").leases.take(WANTED, None, NOW, NOW.plus(LEASE))
    assert state.leases.take(WANTED, None, NOW, NOW.plus(LEASE)).ours == {MONDAY}
    assert value_of(database_url, "SELECT count(*) FROM holders") == 1


# --- the state seen from outside
def test_the_condition_of_a_state(database_url: str) -> None:
    seen = PostgresStoredState(database_url, "../data")
    assert (seen.condition(), seen.exists(), seen.has_store()) == (StateCondition.ABSENT, False, False)
    assert not seen.is_in_use()

    with states_in(database_url) as states:
        state = states.open("../data")
        assert (seen.condition(), seen.has_store()) == (StateCondition.UNCLAIMED, True)
        assert not seen.is_in_use()
        state.bind_dataset(DatasetIdentity("alpaca", "iex", "raw"), SessionKind.REGULAR)
        assert (seen.condition(), seen.is_in_use()) == (StateCondition.USABLE, True)
        assert not PostgresStoredState(database_url, "../another").is_in_use()
    assert not seen.is_in_use()

    with connected(database_url) as connection:
        for table in state_rows.TABLES:
            connection.execute(f"ALTER TABLE {table.name} RENAME TO lost")  # type: ignore[arg-type]
            assert seen.condition() is StateCondition.DAMAGED, table.name
            connection.execute(f"ALTER TABLE lost RENAME TO {table.name}")  # type: ignore[arg-type]
        assert seen.condition() is StateCondition.USABLE
        connection.execute(f"UPDATE versions SET version = {postgres_schema.VERSION + 1}")  # type: ignore[arg-type]
    assert seen.condition() is StateCondition.NEWER
    with pytest.raises(StateError, match="install a newer MarketPipe"):
        PostgresState(database_url, "../data", SystemClock())


def test_tables_of_the_first_version_keep_their_files_and_take_lines(database_url: str) -> None:
    text, lines = PlacedFile.inline("revisions/a.csv", b"one\n", 7), AppendedLines("revisions/a.csv", b"two\n", b"", 8)
    with states_in(database_url) as states:
        states.open("../data").file_catalog.change(CatalogChange(placed=[text, FILE]))
    with connected(database_url) as connection:
        connection.execute("DROP TABLE appended_lines")
        connection.execute("UPDATE versions SET version = 1")

    with states_in(database_url) as states:
        catalog = states.open("../data").file_catalog
        assert [*catalog.below("")] == [FILE, text]
        catalog.change(CatalogChange(appended=[lines]))
        assert catalog.find(text.path) == PlacedFile.inline(text.path, b"one\ntwo\n", 8)
    assert value_of(database_url, "SELECT max(version) FROM versions") == postgres_schema.VERSION


def test_an_archived_state_stays_under_another_name_and_is_written_no_more(
    state: PostgresState, database_url: str
) -> None:
    record(state, [answer("AAPL", "2024-01-02")])

    archived = PostgresStoredState(database_url, "../data").archive(NOW)

    assert archived == f"{database_url}, as the store ../data.20250602T120000.000000Z.bak"
    assert state.was_replaced()
    with pytest.raises(StateError, match="was moved away or replaced"):
        record(state, [answer("AAPL", "2024-01-03")])
    with states_in(database_url) as states:
        again = states.open("../data")
        assert (dates_of(again), again.was_replaced()) == ([], False)
        assert dates_of(states.open("../data.20250602T120000.000000Z.bak")) == ["2024-01-02"]


def test_a_role_that_may_only_read_reads(database_url: str, postgres_server: PostgresServer) -> None:
    with states_in(database_url) as states:
        record(states.open("../data"), [answer("AAPL", "2024-01-02")])
    postgres_server.execute("CREATE ROLE reader LOGIN")
    with connected(database_url) as connection:
        connection.execute("GRANT USAGE ON SCHEMA marketpipe TO reader")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA marketpipe TO reader")
    try:
        with states_in(database_url.replace("//marketpipe@", "//reader@")) as readers:
            reader = readers.open("../data")
            assert (dates_of(reader), dates_of(readers.open("../unknown"))) == (["2024-01-02"], [])
            with pytest.raises(StateError, match="permission denied"):
                record(reader, [answer("AAPL", "2024-01-03")])
    finally:
        with connected(database_url) as connection:
            connection.execute("REVOKE ALL ON ALL TABLES IN SCHEMA marketpipe FROM reader")
            connection.execute("REVOKE ALL ON SCHEMA marketpipe FROM reader")
        postgres_server.execute("DROP ROLE reader")


def test_a_user_that_owns_only_the_schema_can_have_a_state(database_url: str, postgres_server: PostgresServer) -> None:
    as_superuser = database_url.replace("//marketpipe@", "//postgres@")
    postgres_server.execute("CREATE ROLE guest LOGIN")
    with connected(as_superuser) as connection:
        connection.execute("CREATE EXTENSION btree_gist WITH SCHEMA public")
        connection.execute("CREATE SCHEMA marketpipe AUTHORIZATION guest")
    with states_in(database_url.replace("//marketpipe@", "//guest@")) as states:
        state = states.open("../data")
        assert state.leases.take(WANTED, None, NOW, NOW.plus(LEASE)).ours == {MONDAY}
        record(state, [answer("AAPL", "2024-01-02")])
        assert dates_of(state) == ["2024-01-02"]
    with connected(as_superuser) as connection:
        connection.execute("DROP OWNED BY guest")
    postgres_server.execute("DROP ROLE guest")


def test_a_database_that_lacks_characters_is_refused_by_its_encoding(postgres_server: PostgresServer) -> None:
    postgres_server.execute("CREATE DATABASE latin OWNER marketpipe ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    url = postgres_server.url("latin", "marketpipe")
    refused = f"^the state in {url} has the encoding LATIN1, and MarketPipe needs UTF8"
    try:
        with states_in(url) as states, pytest.raises(StateError, match=refused):
            states.open("../data")
        with pytest.raises(StateError, match=refused), PostgresRows(url, "../data").writing():
            pass
    finally:
        postgres_server.drop(url)


def test_a_limit_for_statements_is_not_for_the_state(database_url: str) -> None:
    with connected(database_url) as connection:
        connection.execute(f"ALTER DATABASE {database_url.rpartition('/')[2]} SET statement_timeout = 1")
    with states_in(database_url) as states:
        record(states.open("../data"), [answer("AAPL", "2024-01-02")])
        assert dates_of(states.open("../data")) == ["2024-01-02"]


def test_a_password_is_never_shown(database_url: str, postgres_server: PostgresServer) -> None:
    """That of the environment is used; a wrong one is refused at once."""
    url = database_url.replace("//marketpipe@", f"//{WITH_PASSWORD}@")
    begin = time.monotonic()
    with _environment(PGPASSWORD="wrong horse"), pytest.raises(StateError) as raised:
        PostgresState(url, "../data", SystemClock())
    assert time.monotonic() - begin < 5
    assert "password authentication failed" in str(raised.value)
    assert "horse" not in str(raised.value)
    with _environment(PGPASSWORD=PASSWORD):
        state = PostgresState(url, "../data", SystemClock())
        record(state, [answer("AAPL", "2024-01-02")])
        assert PASSWORD not in repr(vars(state._database))
        state.close()


def test_many_processes_that_begin_at_once_make_the_tables_once(database_url: str) -> None:
    made, errors = list[PostgresDatabase](), list[Exception]()

    def begin() -> None:
        try:
            made.append(PostgresDatabase(database_url, "../data"))
        except StateError as error:
            errors.append(error)

    _at_once([begin] * 8)

    assert errors == []
    assert {database.store_id for database in made} == {made[0].store_id}
    for database in made:
        database.close()


FORK = """
import os, sys
from marketpipe import StateError
from marketpipe.ingestion.infrastructure.postgres.postgres_state import PostgresState
from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock
from tests.support.checkpoints import answer, record

state = PostgresState(sys.argv[1], "../data", SystemClock())
record(state, [answer("AAPL", "2024-01-02")])
child = os.fork()
if child == 0:
    state.close()
    try:
        state.version()
    except StateError as error:
        sys.exit(7 if "was forked" in str(error) else 8)
    sys.exit(9)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
record(state, [answer("AAPL", "2024-01-03")])
print(state.version() > 1)
state.close()
"""


def test_of_several_that_bind_a_store_to_their_datasets_at_once_one_is_right(database_url: str) -> None:
    with states_in(database_url) as states:
        made, refused = [states.open("../data") for _ in range(6)], list[DatasetMismatchError]()

        def bind(state: PostgresState, feed: str) -> None:
            try:
                state.bind_dataset(DatasetIdentity("alpaca", feed, "raw"), SessionKind.REGULAR)
            except DatasetMismatchError as error:
                refused.append(error)

        _at_once([lambda state=state, n=n: bind(state, f"feed{n}") for n, state in enumerate(made)])

        assert len(refused) == len(made) - 1


def _at_once(acts: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_fork_has_no_part_in_the_state_of_its_parent(database_url: str) -> None:
    done = run([sys.executable, "-c", FORK, database_url], cwd=ROOT)
    assert (done.stdout, done.stderr) == ("True\n", "")


def _scope() -> IngestionScope:
    return IngestionScope(("AAPL",), TradingDate.parse("2024-01-01"), TradingDate.parse("2024-12-31"))


def _silence(state: PostgresState) -> None:
    """Let a process give no more signs of life, as if it was stopped or cut off."""
    state._database._signs._end.set()  # type: ignore[attr-defined]


def _set_clock(url: str, living: PostgresState, seconds: int) -> None:
    """Let the clock of the database stand so many seconds after the others' last sign of life; one process gives one.

    A clock that goes on would count what a busy machine needs for the test itself.
    """
    name = living._database.holder_name()
    others = value_of(url, f"SELECT max(beat) FROM holders WHERE holder <> '{name}'")
    with connected(url) as connection:
        now = "extract(epoch FROM clock_timestamp()) * 1000000"
        assert now in postgres_schema.MOMENT
        connection.execute(postgres_schema.MOMENT.replace(now, str(others + seconds * 1_000_000)))
        connection.execute("UPDATE holders SET beat = moment() WHERE holder = %s", (name,))


def _store_late(state: PostgresState, lease: int) -> None:
    """Store as ``BarStorer`` does: the file is placed, then the lease is found to be lost."""
    with state.together():
        state.file_catalog.change(CatalogChange(placed=[FILE]))
        record(state, [answer("AAPL", "2024-01-02")])
        if not state.leases.pin(lease, NOW.plus(LEASE)):
            raise StoreBusyError("the lease ran out")


@contextmanager
def _environment(**changes: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
