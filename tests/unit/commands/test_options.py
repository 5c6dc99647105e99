"""Tests of how the text of options becomes arguments of the library."""

from __future__ import annotations

from marketpipe.commands.options import listed, overrides


def test_an_option_is_split_at_its_commas_and_adds_up_if_it_is_repeated() -> None:
    assert listed(["AAPL, MSFT", "BRK.B"]) == ["AAPL", "MSFT", "BRK.B"]


def test_an_option_that_was_not_given_overrides_nothing() -> None:
    assert listed(None) is None
    assert overrides(None, None, start=None) == {}
    assert overrides(["AAPL"], "iex", start="2024-01-02") == {
        "symbols": ["AAPL"],
        "alpaca.feed": "iex",
        "start": "2024-01-02",
    }
