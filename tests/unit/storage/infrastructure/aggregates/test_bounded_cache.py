from __future__ import annotations

from marketpipe.storage.infrastructure.aggregates.bounded_cache import make_room


def _found_again(asked: range, kept: dict[str, int], most: int) -> int:
    found = 0
    for number in asked:
        if f"{number}" in kept:
            found += 1
        else:
            make_room(kept, most)
            kept[f"{number}"] = number
    return found


def test_a_range_one_larger_than_the_most_finds_most_of_it_again() -> None:
    kept, asked = dict[str, int](), range(257)
    for _ in range(3):
        found = _found_again(asked, kept, most=256)

    assert found > 100
    assert len(kept) <= 256


def test_no_more_than_the_most_are_kept_even_if_that_is_one() -> None:
    kept = dict[str, int]()

    assert _found_again(range(5), kept, most=1) == 0
    assert list(kept) == ["4"]
