"""Every error MarketPipe raises on purpose.

    MarketPipeError
    ├── ConfigurationError            the user's input; nothing has been touched (exit code 2)
    │   └── DatasetMismatchError      another provider, feed or adjustment already lives in that folder
    ├── ValidationError               a value object or an OHLCV bar that may not exist
    ├── ProviderError
    │   ├── TransientProviderError    asking again may help
    │   │   ├── RateLimitedError
    │   │   ├── ProviderTimeoutError
    │   │   ├── ProviderUnavailableError     5xx, or a connection that broke
    │   │   └── MalformedResponseError       a body that is not what was promised
    │   └── TerminalProviderError     asking again will not help
    │       ├── CredentialsError             stops the whole job
    │       ├── EntitlementError
    │       ├── BadRequestError
    │       │   └── SymbolRefusedError
    │       └── EndlessPagingError
    ├── StorageError
    │   ├── PartitionUnreadableError
    │   └── QueryError
    ├── StateError                    the job and checkpoint store
    │   └── StoreBusyError                somebody else is at work on this store
    ├── WorkerLostError               a worker process ended before its work did
    └── IngestionInterrupted          the user asked to stop

Foreign errors are translated once, at the adapter that meets them, with ``from``.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class MarketPipeError(Exception):
    """The root: catch it to catch all that MarketPipe raises on purpose."""


class ConfigurationError(MarketPipeError):
    """Names the key, where it stands, and what to write instead."""


class DatasetMismatchError(ConfigurationError):
    """Names both datasets: the one on disk and the one asked for."""


class ValidationError(MarketPipeError, ValueError):
    """Also a ``ValueError``, because value objects raise it from their constructors."""


class ProviderError(MarketPipeError):
    """A market data provider did not give what was asked.

    ``kind`` is a short stable word for metrics.
    """

    kind = "provider"


class TransientProviderError(ProviderError):
    kind = "transient"


class RateLimitedError(TransientProviderError):
    """``retry_after``: seconds the provider told us to wait, None where it did not say."""

    kind = "rate_limited"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return str(self.args[0])


class ProviderTimeoutError(TransientProviderError):
    kind = "timeout"


class ProviderUnavailableError(TransientProviderError):
    kind = "unavailable"


class MalformedResponseError(TransientProviderError):
    kind = "malformed"


class TerminalProviderError(ProviderError):
    kind = "terminal"


class CredentialsError(TerminalProviderError):
    kind = "credentials"


class EntitlementError(TerminalProviderError):
    kind = "entitlement"


class BadRequestError(TerminalProviderError):
    kind = "bad_request"


class SymbolRefusedError(BadRequestError):
    """``symbol``: the text the provider refused, None where it did not name one."""

    kind = "symbol_refused"

    def __init__(self, message: str, symbol: str | None = None) -> None:
        super().__init__(message, symbol)
        self.symbol = symbol

    def __str__(self) -> str:
        return str(self.args[0])


class EndlessPagingError(TerminalProviderError):
    kind = "endless_paging"


class StorageError(MarketPipeError):
    pass


class PartitionUnreadableError(StorageError):
    pass


class QueryError(StorageError):
    """The query itself is wrong, or wants what a query may not do."""


class StateError(MarketPipeError):
    pass


class StoreBusyError(StateError):
    """Nothing was done."""


class WorkerLostError(MarketPipeError):
    pass


class IngestionInterrupted(MarketPipeError):
    pass


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The rest of an error message: the nearest known word, or all of them."""
    words = sorted(known)
    near = get_close_matches(word, words, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(words)}"
