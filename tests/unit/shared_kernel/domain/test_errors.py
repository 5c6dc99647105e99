from __future__ import annotations

import inspect
import re

import pytest

from marketpipe.shared_kernel.domain import errors
from marketpipe.shared_kernel.domain.errors import (
    ConfigurationError,
    DatasetMismatchError,
    MarketPipeError,
    ProviderError,
    RateLimitedError,
    SymbolRefusedError,
    TerminalProviderError,
    TransientProviderError,
    ValidationError,
)

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, MarketPipeError) and kind.__module__ == errors.__name__
]


def drawn_tree() -> dict[str, str]:
    """Each class of the drawing in the docstring with the class it hangs from."""
    parents: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^( {4}[│├└─ ]*)([A-Z]\w+)(?:\s|$)", line)
        if found is None:
            continue
        depth, name = len(found[1]), found[2]
        above = [(d, n) for d, n in above if d < depth]
        if above:
            parents[name] = above[-1][1]
        above.append((depth, name))
    return parents


def test_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    assert drawn_tree() == {
        kind.__name__: kind.__bases__[0].__name__ for kind in CLASSES if kind is not MarketPipeError
    }


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_a_marketpipe_error_and_keeps_its_message(kind: type[MarketPipeError]) -> None:
    error = kind("what, where, and what to do")
    assert isinstance(error, MarketPipeError)
    assert str(error) == "what, where, and what to do"


def test_provider_errors_have_kinds_that_differ() -> None:
    kinds = {kind: kind.kind for kind in CLASSES if issubclass(kind, ProviderError)}
    assert len(set(kinds.values())) == len(kinds)
    assert all(re.fullmatch("[a-z_]+", kind) for kind in kinds.values())


def test_provider_error_is_either_transient_or_terminal() -> None:
    for kind in CLASSES:
        if issubclass(kind, ProviderError) and kind is not ProviderError:
            assert issubclass(kind, TransientProviderError) != issubclass(kind, TerminalProviderError)


def test_only_validation_errors_are_value_errors() -> None:
    assert [kind for kind in CLASSES if issubclass(kind, ValueError)] == [ValidationError]


def test_dataset_mismatch_is_an_error_of_the_configuration() -> None:
    assert issubclass(DatasetMismatchError, ConfigurationError)


def test_errors_carry_what_the_caller_needs() -> None:
    assert RateLimitedError("slow down", retry_after=2.5).retry_after == 2.5
    assert RateLimitedError("slow down").retry_after is None
    assert SymbolRefusedError("invalid symbol: A B", symbol="A B").symbol == "A B"
    assert SymbolRefusedError("invalid symbol").symbol is None
