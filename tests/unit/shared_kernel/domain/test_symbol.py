from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.symbol import MAX_LENGTH, Symbol, as_symbol, as_symbols, canonical

ACCEPTED = ["A", "AAPL", "BRK.B", "BF-B", "BRK.A.WS", "3M", "7203", "ON", "NO", "TRUE", "A" * 20]
WINDOWS_DEVICES = ["CON", "PRN", "AUX", "NUL", "COM1", "LPT9"]
PATHS = ["..", ".", "../A", "A/../../B", "A/B", "/A", "A\\B", "C:A", "~", "A..B", "A\0", "symbol=A", "A*", "A?", "A%2F"]
URLS = ["A,B", "A&B", "A#B", "A=B", "A+B", "A B", "A;B", "A'B", 'A"B', "A%"]
LOOK_ALIKES = [
    "\N{CYRILLIC CAPITAL LETTER A}APL",
    "\N{FULLWIDTH LATIN CAPITAL LETTER A}APL",
    "\N{GREEK CAPITAL LETTER ALPHA}",
    "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}BM",
    "A\N{COMBINING ACUTE ACCENT}",
    "AA\N{ZERO WIDTH SPACE}PL",
    "\N{RIGHT-TO-LEFT OVERRIDE}AAPL",
    "A\N{ARABIC-INDIC DIGIT THREE}",
    "BRK\N{ONE DOT LEADER}B",
    "BF\N{NON-BREAKING HYPHEN}B",
    "\N{KELVIN SIGN}",
]


@pytest.mark.parametrize("text", [*ACCEPTED, *WINDOWS_DEVICES])
def test_symbol_keeps_what_is_listed_on_exchanges(text: str) -> None:
    assert Symbol(text).value == text
    assert str(Symbol(text)) == text


@pytest.mark.parametrize(
    "text", ["", " ", ".A", "A.", "-A", "A-", ".", "-", "aapl", "Aapl", "^GSPC", "$A", "A\n", " A"]
)
def test_symbol_refuses_what_no_exchange_lists(text: str) -> None:
    with pytest.raises(ValidationError, match="is not a symbol: 1 to 20 upper-case letters"):
        Symbol(text)


@pytest.mark.parametrize("text", [*PATHS, *URLS, *LOOK_ALIKES])
def test_symbol_refuses_paths_url_delimiters_and_look_alikes(text: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(repr(text))):
        Symbol(text)


@pytest.mark.parametrize("value", [None, 5, True, 1.5, b"AAPL", ["AAPL"], {"A": 1}])
def test_symbol_refuses_what_is_no_text(value: Any) -> None:
    with pytest.raises(ValidationError, match="is not a symbol"):
        Symbol(value)


def test_symbol_of_20_characters_is_the_longest() -> None:
    assert Symbol("A" * MAX_LENGTH).value == "A" * 20
    with pytest.raises(ValidationError):
        Symbol("A" * 21)


def test_refusing_300_characters_repeats_only_the_first_40() -> None:
    with pytest.raises(ValidationError) as refusal:
        Symbol("A" * 300)
    assert "A" * 40 in str(refusal.value)
    assert "A" * 41 not in str(refusal.value)


def test_refusal_of_a_symbol_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="not a symbol"):
        Symbol("a")


@given(st.one_of(st.text(), st.text(alphabet="AB9.-/\\ a\n%", max_size=25)))
@example("A" * 20)
def test_any_accepted_symbol_is_one_component_of_paths_and_urls(text: str) -> None:
    try:
        symbol = Symbol(text)
    except ValidationError:
        return
    folder = f"symbol={symbol}"
    assert PurePosixPath("data", folder).parts == ("data", folder)
    assert PureWindowsPath("data", folder).parts == ("data", folder)
    assert quote(str(symbol), safe="") == text
    assert text.isascii()
    assert text == text.upper().strip(" .-")


def test_symbols_are_equal_ordered_and_hashable_by_their_text() -> None:
    assert Symbol("A") == Symbol("A")
    assert Symbol("A") != "A"
    assert sorted([Symbol("BRK.B"), Symbol("AAPL"), Symbol("BRK.A")]) == list(map(Symbol, ["AAPL", "BRK.A", "BRK.B"]))
    assert len({Symbol("A"), Symbol("A"), Symbol("B")}) == 2
    assert repr(Symbol("BRK.B")) == "Symbol('BRK.B')"


def test_symbol_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Symbol("A").value = "B"  # type: ignore[misc]


def test_as_symbols_sorts_and_drops_repeats() -> None:
    assert as_symbols(["MSFT", Symbol("AAPL"), "AAPL"]) == (Symbol("AAPL"), Symbol("MSFT"))
    assert as_symbols(name for name in ("B", "A")) == (Symbol("A"), Symbol("B"))
    assert as_symbols([]) == ()


def test_as_symbols_takes_a_single_one_without_a_list() -> None:
    assert as_symbols("AAPL") == (Symbol("AAPL"),)
    assert as_symbols(Symbol("AAPL")) == (Symbol("AAPL"),)


OTHER_SPELLINGS = {
    "BRK/B": "BRK.B",
    "BRK B": "BRK.B",
    "BRKb": "BRK.B",
    "ABC PR A": "ABC.PRA",
    "ABC PRA": "ABC.PRA",
    "ABC/PR/A": "ABC.PRA",
    "ABC P A": "ABC.PRA",
    "ABCpA": "ABC.PRA",
    "ABC^A": "ABC.PRA",
    "ABC$A": "ABC.PRA",
    "ABC/PR": "ABC.PR",
    "ABC+": "ABC.WS",
    "ABC/WS": "ABC.WS",
    "ABC+A": "ABC.WS.A",
    "ABC/WS/A": "ABC.WS.A",
    "ABC=": "ABC.U",
    "ABC^": "ABC.RT",
    "ABC RT": "ABC.RT",
    "ABC#": "ABC.WI",
}
VALID_SPELLINGS = {"BRK-B": "BRK.B", "ABC-PA": "ABC.PRA", "ABC.PR.A": "ABC.PRA", "ABC-WT": "ABC.WS", "ABC-UN": "ABC.U"}


@pytest.mark.parametrize(("spelling", "form"), OTHER_SPELLINGS.items())
def test_other_spellings_of_a_security_become_the_canonical_form(spelling: str, form: str) -> None:
    assert as_symbol(spelling) == Symbol(form)
    assert canonical(Symbol(form)) == Symbol(form)


@pytest.mark.parametrize(("spelling", "form"), VALID_SPELLINGS.items())
def test_a_valid_symbol_stays_as_it_is_and_has_a_canonical_form(spelling: str, form: str) -> None:
    assert as_symbol(spelling) == Symbol(spelling)
    assert canonical(Symbol(spelling)) == Symbol(form)


@pytest.mark.parametrize("text", ["AAPL", "BRK.B", "ABC.PRA", "ABC.WS.A", "BTC-USD", "005930.KS", "MC.PA", "A.B.C.D"])
def test_canonical_leaves_what_follows_no_other_convention(text: str) -> None:
    assert canonical(Symbol(text)) == Symbol(text)


@pytest.mark.parametrize(
    ("text", "explanation"),
    [
        ("aapl", "did you mean 'AAPL'?"),
        (" AAPL", "did you mean 'AAPL'?"),
        ("brk.b", "did you mean 'BRK.B'?"),
        ("brk/b", "did you mean 'BRK.B'?"),
        ("ABCr", "rights are written ABC.RT, and a class of shares ABC.R"),
        ("ABCw", "when-issued shares are written ABC.WI"),
        ("ABCp", "preferred shares are written ABC.PR"),
        ("^GSPC", "indices are not covered"),
        ("ES=F", "futures, currencies and coins are not covered"),
        ("BTC/USD", "futures, currencies and coins are not covered"),
        ("AA PL", "preferred shares, series L, are written AA.PRL, and one word AAPL"),
        ("AA/PL", "preferred shares, series L, are written AA.PRL, and one word AAPL"),
        ("AAP L", "a class of shares is written AAP.L, and one word AAPL"),
        ("AAPl", "did you mean 'AAPL'?"),
        ("GOOGl", "did you mean 'GOOGL'?"),
        ("AAPL US", "write AAPL, without the exchange"),
        ("NASDAQ:AAPL", "write AAPL, without the exchange"),
    ],
)
def test_a_near_miss_is_explained(text: str, explanation: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(explanation)):
        as_symbol(text)


@given(st.text(alphabet="ABPRWSTUIpb./- +=^#$", max_size=12))
def test_a_spelling_is_a_symbol_or_refused_and_its_canonical_form_is_stable(text: str) -> None:
    try:
        form = canonical(as_symbol(text))
    except ValidationError:
        return
    assert canonical(form) == form


@pytest.mark.parametrize("values", ["aapl", ["AAPL", "../etc"], ["AAPL", None], ["AAPL", ["MSFT"]]])
def test_as_symbols_refuses_all_if_one_is_wrong(values: Any) -> None:
    with pytest.raises(ValidationError):
        as_symbols(values)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "symbols: expected one, or a list such as"),
        (5, "symbols: expected one, or a list such as"),
        ("AAPL,MSFT,GOOG,IBM,FB", "give several symbols as a list"),
        ("AAPL BYND", "on the command line with commas between them"),
        ("AAPL; MSFT; GOOG; IBM; FB", "on the command line with commas between them"),
    ],
)
def test_what_is_neither_one_symbol_nor_several_is_refused_with_words(given: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        as_symbols(given)
