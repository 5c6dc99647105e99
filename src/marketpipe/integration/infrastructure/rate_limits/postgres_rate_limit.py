"""The rate limit of an account that processes of several machines share, in a PostgreSQL database.

A request costs one round trip: the functions below run in the database, by its clock, and what they lock is free again
before their answer is on its way. The tables are unlogged, because a request must not wait for a disk. So a crash of
the database empties them; a table that is logged still names the account then, and no request is let through for one
whole window. After an orderly restart everything is there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import psycopg

from marketpipe.integration.infrastructure.rate_limits.rate_limiter import (
    LONGEST_PAUSE,
    MICROSECONDS,
    OVERTAKING,
    SLOTS,
    RateWindow,
    check_windows,
)
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.domain.timestamp import Clock
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine

T = TypeVar("T")
LONGEST_OUTAGE: Final = 30.0
"""Seconds for which a request waits for a database that is being restarted."""
PAUSE: Final = 0.2
CONNECTING_SECONDS: Final = 5
SETUP_LOCK: Final = 5_784_031_602
"""Of the short transaction that makes the tables and functions: two processes that begin at once would collide."""
IS_SET_UP: Final = """
SELECT to_regclass('marketpipe.rate_limits') IS NOT NULL AND EXISTS (
    SELECT FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
    WHERE nspname = 'marketpipe' AND proname = 'rate_limit_pause_2'
)"""
"""A database that was restored from a backup may have the functions and not the tables."""
SETUP: Final = """
-- IF NOT EXISTS would ask for the right to make a schema even if there is one.
DO $$ BEGIN
    IF to_regnamespace('marketpipe') IS NULL THEN
        CREATE SCHEMA marketpipe;
    END IF;
END $$;
CREATE TABLE IF NOT EXISTS marketpipe.rate_limit_accounts (account text PRIMARY KEY);
CREATE UNLOGGED TABLE IF NOT EXISTS marketpipe.rate_limits (
    account text PRIMARY KEY,
    requests bigint NOT NULL,      -- so far
    newest bigint NOT NULL,        -- the latest of all times below, in microseconds since 1970
    paused_until bigint NOT NULL
) WITH (fillfactor = 10);
CREATE UNLOGGED TABLE IF NOT EXISTS marketpipe.rate_limit_requests (
    account text,
    slot integer,
    number bigint NOT NULL,        -- which of the account's requests has the slot
    moment bigint NOT NULL,
    PRIMARY KEY (account, slot)
) WITH (fillfactor = 50);

-- Lock the account until the end of the transaction, and return the time. A time in the future was written before the
-- clock of the database was put back: the request was no later than now.
CREATE OR REPLACE FUNCTION marketpipe.rate_limit_lock_2(of_account text, longest bigint, given bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    now bigint;
    latest bigint;
BEGIN
    SELECT newest INTO latest FROM marketpipe.rate_limits WHERE account = of_account FOR UPDATE;
    now := coalesce(given, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
    IF NOT FOUND THEN
        INSERT INTO marketpipe.rate_limits VALUES (of_account, 0, 0, 0) ON CONFLICT DO NOTHING;
        IF FOUND THEN
            INSERT INTO marketpipe.rate_limit_accounts VALUES (of_account) ON CONFLICT DO NOTHING;
            IF NOT FOUND THEN  -- a crash has emptied the other tables
                UPDATE marketpipe.rate_limits SET paused_until = now + longest WHERE account = of_account;
            END IF;
        END IF;
        RETURN marketpipe.rate_limit_lock_2(of_account, longest, given);
    END IF;
    IF latest > now THEN
        UPDATE marketpipe.rate_limit_requests SET moment = now WHERE account = of_account AND moment > now;
        UPDATE marketpipe.rate_limits SET newest = now WHERE account = of_account;
    END IF;
    RETURN now;
END $$;

-- Reserve a request and return 0 and its number, or return the microseconds to wait first.
CREATE OR REPLACE FUNCTION marketpipe.rate_limit_reserve_2(
    of_account text, limits bigint[], intervals bigint[], longest_pause bigint, given bigint,
    OUT wait bigint, OUT request bigint
) LANGUAGE plpgsql AS $$
DECLARE
    now bigint := marketpipe.rate_limit_lock_2(
        of_account, (SELECT coalesce(max(each), 0) FROM unnest(intervals) AS each), given);
    free_at bigint;
    latest bigint;
    first bigint;
    last bigint;
BEGIN
    SELECT requests, CASE WHEN paused_until <= now + longest_pause THEN paused_until ELSE 0 END INTO request, free_at
        FROM marketpipe.rate_limits WHERE account = of_account;
    FOR i IN 1 .. coalesce(array_length(limits, 1), 0) LOOP
        last := request - limits[i];
        IF last >= 0 THEN
            first := greatest(0, last - OVERTAKING + 1, request - SLOTS);
            -- A range, not a list of slots: the index finds all of it at once, in an eighth of the time.
            SELECT max(moment) INTO latest FROM marketpipe.rate_limit_requests
                WHERE account = of_account AND slot BETWEEN first % SLOTS AND first % SLOTS + last - first;
            IF last % SLOTS < first % SLOTS THEN  -- after the last slot comes the first one
                SELECT greatest(latest, max(moment)) INTO latest FROM marketpipe.rate_limit_requests
                    WHERE account = of_account AND slot <= last % SLOTS;
            END IF;
            free_at := greatest(free_at, latest + intervals[i]);
        END IF;
    END LOOP;
    wait := greatest(0, free_at - now);
    IF wait = 0 THEN
        INSERT INTO marketpipe.rate_limit_requests VALUES (of_account, request % SLOTS, request, now)
            ON CONFLICT (account, slot) DO UPDATE SET number = excluded.number, moment = excluded.moment;
        UPDATE marketpipe.rate_limits SET requests = request + 1, newest = now WHERE account = of_account;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION marketpipe.rate_limit_answered_2(of_account text, request bigint, given bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    now bigint := coalesce(given, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
BEGIN
    UPDATE marketpipe.rate_limits SET newest = greatest(newest, now) WHERE account = of_account;
    UPDATE marketpipe.rate_limit_requests SET moment = now
        WHERE account = of_account AND slot = request % SLOTS AND number = request;
END $$;

CREATE OR REPLACE FUNCTION marketpipe.rate_limit_pause_2(
    of_account text, micros bigint, longest bigint, given bigint
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    now bigint := marketpipe.rate_limit_lock_2(of_account, longest, given);
BEGIN
    UPDATE marketpipe.rate_limits SET paused_until = greatest(paused_until, now + micros) WHERE account = of_account;
END $$;
""".replace("SLOTS", str(SLOTS)).replace("OVERTAKING", str(OVERTAKING))
RESERVE: Final = "SELECT wait, request FROM marketpipe.rate_limit_reserve_2(%s, %s, %s, %s, %s)"
ANSWERED: Final = "SELECT marketpipe.rate_limit_answered_2(%s, %s, %s)"
PAUSED: Final = "SELECT marketpipe.rate_limit_pause_2(%s, %s, %s, %s)"


class PostgresRateLimit:
    """One rate limit of all processes that use the database. See ``RateLimitBackend``.

    The time of a request is that of its turn, and once it is answered, that of its answer, as in ``FileRateLimit``.
    A database that is restarted is waited for. Threads share one connection.
    """

    def __init__(
        self,
        url: str,
        account: str,
        windows: Sequence[RateWindow],
        clock: Clock,
        machine: Machine = HERE,
        *,
        by_given_clock: bool = False,
    ) -> None:
        """``url`` has no password in it. Times are those of the database, or, in a simulation, of the given clock."""
        check_windows(windows)
        self._url, self._account, self._clock, self._by_given_clock = url, account, clock, by_given_clock
        self._limits = [min(window.limit, SLOTS) for window in windows]
        self._intervals = [round(window.seconds * MICROSECONDS) for window in windows]
        self._longest_pause = max([round(LONGEST_PAUSE * MICROSECONDS), *self._intervals])
        self._lock = machine.threads.lock()
        self._connection: psycopg.Connection | None = None
        self._unanswered = deque[int]()

    def reserve(self) -> float:
        values = (self._account, self._limits, self._intervals, self._longest_pause)
        wait, number = self._patiently(lambda connection: self._row(connection, RESERVE, *values))
        if wait == 0:
            self._unanswered.append(number)
        return float(wait) / MICROSECONDS

    def answered(self) -> None:
        with suppress(IndexError):  # more answers than requests
            number = self._unanswered.popleft()
            self._patiently(lambda connection: self._row(connection, ANSWERED, self._account, number))

    def pause(self, seconds: float) -> None:
        values = (self._account, round(seconds * MICROSECONDS), max(self._intervals, default=0))
        self._patiently(lambda connection: self._row(connection, PAUSED, *values))

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def _row(self, connection: psycopg.Connection, statement: str, *values: object) -> tuple[int, int]:
        given = int(self._clock.monotonic() * MICROSECONDS) if self._by_given_clock else None
        row = connection.execute(statement, (*values, given)).fetchone()
        assert row is not None
        return row

    def _patiently(self, ask: Callable[[psycopg.Connection], T]) -> T:
        """Return what the database returns; after an error of the connection ask again, for so long.

        A reservation whose answer was lost stays: one request fewer than allowed is sent, never one more.
        """
        begin = self._clock.monotonic()
        while True:
            try:
                with self._lock:
                    return ask(self._connected())
            except psycopg.OperationalError as error:
                if self._clock.monotonic() - begin > LONGEST_OUTAGE:
                    raise self._translated(error) from error
            except psycopg.Error as error:
                raise self._translated(error) from error
            self._clock.sleep(PAUSE)

    def _connected(self) -> psycopg.Connection:
        if self._connection is None or self._connection.broken:
            self._disconnect()
            # prepare_threshold: a pooler between us and the server may give each transaction another connection
            self._connection = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=CONNECTING_SECONDS,
                prepare_threshold=None,
                application_name="marketpipe rate limit",
                keepalives_idle=10,  # a network that is cut is found out in about 20 seconds, as by the state
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=20_000,
            )
            self._set_up(self._connection)
        return self._connection

    def _set_up(self, connection: psycopg.Connection) -> None:
        if connection.execute(IS_SET_UP).fetchone() == (True,):
            return
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (SETUP_LOCK,))
            if connection.execute(IS_SET_UP).fetchone() != (True,):  # another process may just have done it
                connection.execute(SETUP)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _translated(self, error: psycopg.Error) -> StateError:
        # Without the database each process would use the whole limit alone, and the account would be blocked.
        why = str(error).strip().partition("\n")[0]
        return StateError(
            f"cannot share the rate limit in {self._url}: {why}; see whether the server runs, and whether this user "
            "may connect and make tables there"
        )
