from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.errors import did_you_mean

KEYS = ["symbols", "start", "end", "workers"]


@pytest.mark.parametrize(
    ("word", "meant"), [("symbol", "symbols"), ("simbols", "symbols"), ("strat", "start"), ("worker", "workers")]
)
def test_nearest_known_word_is_suggested(word: str, meant: str) -> None:
    assert did_you_mean(word, KEYS) == f"did you mean '{meant}'?"


@pytest.mark.parametrize("word", ["", "zzz", "output_path", "日本"])
def test_all_known_words_are_listed_in_order_if_none_is_similar(word: str) -> None:
    assert did_you_mean(word, KEYS) == "use one of: end, start, symbols, workers"


@given(st.sampled_from(KEYS))
def test_known_word_suggests_itself(word: str) -> None:
    assert did_you_mean(word, iter(KEYS)) == f"did you mean '{word}'?"
