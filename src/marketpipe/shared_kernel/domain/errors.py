"""Every error MarketPipe raises on purpose.

    MarketPipeError
    ├── ConfigurationError               the user's input is wrong; nothing has been changed (exit code 2)
    │   ├── DatasetMismatchError         the folder has bars of another provider, feed or adjustment
    │   └── AddressInUseError            another program listens on this address
    ├── ValidationError                  a value that cannot exist: a symbol, a date, an OHLCV bar (also a ValueError)
    ├── ProviderError                    the market data provider did not deliver
    │   ├── TransientProviderError       a retry may help
    │   │   ├── RateLimitedError         HTTP 429
    │   │   ├── ProviderTimeoutError     no response in time
    │   │   ├── ProviderUnavailableError HTTP 5xx, or a broken connection
    │   │   │   └── ConnectionFailedError no connection was made
    │   │   └── MalformedResponseError   the response does not have the documented form
    │   │       └── WrongAnswerError     ... or answers another question than the request
    │   └── TerminalProviderError        a retry will not help
    │       ├── JobStoppingError         every further request would fail as well
    │       │   ├── CredentialsError     the keys were refused
    │       │   ├── ProviderUnreachableError no connection can be made, however often it is tried
    │       │   └── ClockError           this machine's clock is ahead of the provider's
    │       ├── EntitlementError         the account may not have these data
    │       ├── BadRequestError          the provider refused the request
    │       │   └── SymbolRefusedError   ... because of a symbol
    │       └── EndlessPagingError       the provider's pages repeat and never end
    ├── StorageError                     files cannot be read or written
    │   ├── PartitionUnreadableError     one file of bars is damaged
    │   │   └── MonthUnreadableError     ... which is all days of a month; the others of the store can be read
    │   ├── ObjectLostError          one object of a bucket is gone, or shorter than it was
    │   └── QueryError                   a query is wrong, or tries what a query may not do
    ├── StoreUnreachableError            the bucket of the store does not answer, or refuses: no file can be used now
    ├── StateError                       the database of jobs and checkpoints
    │   └── StoreBusyError               another process works on this store; nothing was done
    ├── MetricsDeliveryError             metrics did not reach a file or a Pushgateway; the run itself is over
    ├── IncompleteError                  stored bars are not complete, and the caller requires that
    ├── WorkerLostError                  a worker process ended before its work was done
    ├── PipelineClosedError              a method was called after close
    └── IngestionInterrupted             the user asked to stop
        └── EngineFailedError            ... or what the batches run on cannot go on: Dask's scheduler is gone

``IncompleteWarning`` is the one warning: the same as ``IncompleteError``, for a caller who has not required it.

An error of another library is translated once, by the adapter that calls the library, with ``from``. A message says
what failed, on what, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from marketpipe.shared_kernel.domain.secret_text import visible


class MarketPipeError(Exception):
    """Base of all errors that MarketPipe raises on purpose.

    Messages quote servers, files and users: as text they are always ``visible``.
    """

    def __str__(self) -> str:
        return visible(super().__str__())


class ConfigurationError(MarketPipeError):
    """The message names the key, the file or command line that has it, and what to write instead."""


class DatasetMismatchError(ConfigurationError):
    """The message names both datasets: the one in the folder and the one asked for."""


class AddressInUseError(ConfigurationError):
    """Another program, or another ingestion, listens on this address already."""


class ValidationError(MarketPipeError, ValueError):
    """Raised by constructors of value objects, hence also a ``ValueError``."""


class ProviderError(MarketPipeError):
    """Base of all failures of a market data provider. ``kind`` is a short stable name for metrics."""

    kind = "provider"

    def __str__(self) -> str:
        return (
            visible(str(self.args[0])) if self.args else ""
        )  # further arguments are for code, not part of the message


class TransientProviderError(ProviderError):
    """A retry may help."""

    kind = "transient"


class RateLimitedError(TransientProviderError):
    """``retry_after``: seconds to wait, as the provider asked; None if it did not state any."""

    kind = "rate_limited"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after)
        self.retry_after = retry_after


class ProviderTimeoutError(TransientProviderError):
    """The provider did not answer in time."""

    kind = "timeout"


class ProviderUnavailableError(TransientProviderError):
    """The provider answered with HTTP 5xx, or the connection broke."""

    kind = "unavailable"


class ConnectionFailedError(ProviderUnavailableError):
    """No connection was made: refused, no such host, no network.

    ``reached_before``: whether this client has had an answer before. One that never had is not worth many retries.
    """

    kind = "connection_failed"

    def __init__(self, message: str, reached_before: bool = False) -> None:
        super().__init__(message, reached_before)
        self.reached_before = reached_before


class MalformedResponseError(TransientProviderError):
    """The response does not have the documented form."""

    kind = "malformed"


class WrongAnswerError(MalformedResponseError):
    """The response has bars, but others than requested: of other symbols, dates, or another timeframe or currency.

    What was requested must not be taken for empty then.
    """

    kind = "wrong_answer"


class TerminalProviderError(ProviderError):
    """A retry will not help."""

    kind = "terminal"


class JobStoppingError(TerminalProviderError):
    """Every further request would fail as well: the whole job ends."""

    kind = "job_stopping"


class ProviderUnreachableError(JobStoppingError):
    """No connection to the provider can be made, and retries have not helped."""

    kind = "unreachable"


class CredentialsError(JobStoppingError):
    """The provider refused the keys."""

    kind = "credentials"


class ClockError(JobStoppingError):
    """The clock of this machine is ahead of the provider's: sessions would be taken for final before they are."""

    kind = "clock"


class EntitlementError(TerminalProviderError):
    """The account is not entitled to these data."""

    kind = "entitlement"


class BadRequestError(TerminalProviderError):
    """The provider refused the request."""

    kind = "bad_request"


class SymbolRefusedError(BadRequestError):
    """``symbol``: the text that the provider refused; None if it did not name one."""

    kind = "symbol_refused"

    def __init__(self, message: str, symbol: str | None = None) -> None:
        super().__init__(message, symbol)
        self.symbol = symbol


class EndlessPagingError(TerminalProviderError):
    """The pages of the provider repeat: following their cursors would never end."""

    kind = "endless_paging"


class StorageError(MarketPipeError):
    """Files of the store cannot be read or written."""


class PartitionUnreadableError(StorageError):
    """A file of bars is damaged. ``problem`` is the message without its advice; empty if it has none.

    ``advice`` is what helps if no command brings the bars again; empty if one does.
    """

    problem: str = ""
    advice: str = ""


class MonthUnreadableError(PartitionUnreadableError):
    """A compacted month does not tell which days it has. ``problem`` is what is wrong with its file, without its path
    and advice."""

    path: str = ""


class ObjectLostError(StorageError):
    """An object of a bucket is gone, or shorter than it was. The others of the store can be read."""


class QueryError(StorageError):
    """A query is wrong, or tries what a query may not do."""


class StoreUnreachableError(MarketPipeError):
    """The bucket of the store does not answer, or refuses: nothing can be told of any file in it.

    It is no ``StorageError``: what goes on without one file, day or symbol, or calls it damaged, must end with this.
    """


class StateError(MarketPipeError):
    """The database of jobs and checkpoints cannot be used."""


class StoreBusyError(StateError):
    """Nothing was done: try again when the other process has ended."""


class MetricsDeliveryError(MarketPipeError):
    """Metrics did not reach a file or a Pushgateway."""


class IncompleteError(MarketPipeError):
    """``gaps``: what is missing, partial or suspect, each a ``Gap``; none if the store has no record of what it has."""

    def __init__(self, message: str, gaps: Iterable[Any] = ()) -> None:
        super().__init__(message)
        self.gaps = tuple(gaps)


class IncompleteWarning(UserWarning):
    """The loaded bars are not complete, or it cannot be told whether they are."""


class WorkerLostError(MarketPipeError):
    """A worker process ended before its work was done."""


class PipelineClosedError(MarketPipeError):
    """A method of a pipeline or a store was called after ``close``: make a new one."""


class IngestionInterrupted(MarketPipeError):
    """The user asked to stop."""


class EngineFailedError(IngestionInterrupted):
    """What the batches run on cannot go on. Nothing failed at the provider: run again, and what is missing is asked."""


def count_of(number: int, noun: str, plural: str | None = None) -> str:
    """Return such as "1 symbol" or "2,000 symbols"; ``plural`` is needed if it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of an error message about ``word``: the most similar known word, or all known words."""
    words = sorted(known)
    near = get_close_matches(word, words, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"use one of: {', '.join(words)}"
