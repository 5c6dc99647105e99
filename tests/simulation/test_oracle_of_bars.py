"""The checks ``invented``, ``twice`` and ``lost`` catch what they are there for, and nothing else."""

from __future__ import annotations

from attrs import evolve

from marketpipe.shared_kernel.domain.symbol import Outcome as DayOutcome
from tests.simulation.ledger import Ledger
from tests.simulation.oracle import bars
from tests.simulation.oracle.files import NO_FILES, StoreFiles, data_path
from tests.simulation.oracle.memory import Memory
from tests.simulation.seen_by_hand import DAY, bars_file, broken, report, row, seen, step, stored, tell

COMPLETE = report({DAY: DayOutcome.COMPLETE})
WHOLE = [row(0), row(15), row(30)]


def heard(*answers: list) -> Ledger:
    ledger = Ledger()
    for number, rows in enumerate(answers):
        tell(ledger, DAY, rows, process=f"p{number}")
    return ledger


def test_a_stored_bar_that_was_delivered_is_not_invented() -> None:
    ledger, now = heard(WHOLE), stored({DAY: WHOLE})
    assert broken(bars.invented(seen(step(), ledger, NO_FILES, now), ledger.said)) == []


def test_a_stored_bar_with_another_value_is_invented() -> None:
    ledger, now = heard(WHOLE), stored({DAY: [row(0), row(15, 100.25)]})
    found = broken(bars.invented(seen(step(), ledger, NO_FILES, now), ledger.said))
    assert found == [
        "AAA 2024-03-05 has a bar that the provider never gave: 2024-03-05T14:45:00Z 100.25 101.25 99.25 100.25 x500.0"
    ]


def test_a_bar_of_another_symbol_is_invented() -> None:
    ledger, now = heard(WHOLE), stored({("BBB", DAY[1]): WHOLE})
    assert len(broken(bars.invented(seen(step(), ledger, NO_FILES, now), ledger.said))) == 1


def test_a_bar_twice_is_found() -> None:
    ledger, now = heard(WHOLE), stored({DAY: [row(0), row(0), row(15)]})
    assert broken(bars.twice(seen(step(), ledger, NO_FILES, now))) == [
        "AAA 2024-03-05: the times of its bars do not ascend"
    ]


def test_a_day_in_two_forms_is_found_unless_a_process_was_killed() -> None:
    both = StoreFiles({}, stored({DAY: WHOLE}).days, frozenset({DAY}))
    calm = seen(step(), heard(WHOLE), NO_FILES, both)
    assert len(broken(bars.twice(calm))) == 1
    calm.memory.is_machine_well = False
    assert broken(bars.twice(calm)) == []


def test_a_day_reported_complete_has_all_that_was_said() -> None:
    whole = seen(step(value=COMPLETE), heard(WHOLE), NO_FILES, stored({DAY: WHOLE}))
    assert broken(bars.lost(whole)) == []
    half = seen(step(value=COMPLETE), heard(WHOLE), NO_FILES, stored({DAY: WHOLE[:2]}))
    assert "was reported complete: the provider said 2024-03-05T15:00:00Z" in broken(bars.lost(half))[0]


def test_a_day_reported_complete_of_which_no_whole_answer_came_is_not_stored() -> None:
    ledger = Ledger()
    tell(ledger, DAY, WHOLE[:2], token="next", more=frozenset({DAY}))
    half = seen(step(value=COMPLETE), ledger, NO_FILES, stored({DAY: WHOLE[:2]}))
    assert broken(bars.lost(half)) == ["AAA 2024-03-05 changed: it had no file and has 2 bars; no whole answer came"]


def test_a_bar_that_the_provider_withdrew_is_not_kept() -> None:
    files = stored({DAY: WHOLE})
    kept = seen(step(value=COMPLETE), heard(WHOLE[:2]), files, files)
    assert "the provider does not have it any more" in broken(bars.lost(kept))[0]


def test_a_quarantined_bar_may_be_missing_or_have_its_former_version() -> None:
    former, now = [row(0, 99.0), *WHOLE[1:]], [row(0, 99.0), *WHOLE[1:]]
    quarantine = {DAY: [WHOLE[0]]}
    for rows in (now, WHOLE[1:]):
        found = seen(step(value=COMPLETE), heard(WHOLE), stored({DAY: former}), stored({DAY: rows}, quarantine))
        assert broken(bars.lost(found)) == []


def test_a_day_reported_empty_has_no_file() -> None:
    empty = step(value=report({DAY: DayOutcome.EMPTY}))
    assert broken(bars.lost(seen(empty, heard([]), stored({DAY: WHOLE}), NO_FILES))) == []
    assert len(broken(bars.lost(seen(empty, heard([]), stored({DAY: WHOLE}), stored({DAY: WHOLE}))))) == 1
    assert len(broken(bars.lost(seen(empty, heard(WHOLE), NO_FILES, NO_FILES)))) == 1


def test_a_day_of_which_nothing_was_said_does_not_change() -> None:
    gone = seen(step("verify"), Ledger(), stored({DAY: WHOLE}), NO_FILES)
    assert broken(bars.lost(gone)) == [
        "AAA 2024-03-05 changed, though nothing was said of it: it had 3 bars and has no file"
    ]


def test_a_killed_command_leaves_the_old_bars_or_the_new_ones() -> None:
    killed, before, new = step(ended="killed"), stored({DAY: WHOLE[:1]}), stored({DAY: WHOLE})
    assert broken(bars.lost(seen(killed, heard(WHOLE), before, before))) == []
    assert broken(bars.lost(seen(killed, heard(WHOLE), before, new))) == []
    assert len(broken(bars.lost(seen(killed, heard(WHOLE), before, stored({DAY: WHOLE[1:]}))))) == 1


def test_a_power_loss_takes_nothing_that_was_reported() -> None:
    before, loss = stored({DAY: WHOLE}), step("power loss", "happened")
    assert len(broken(bars.lost(seen(loss, Ledger(), before, NO_FILES)))) == 1
    unsure = Memory(before, possible={DAY: [None, before.rows(DAY)]})
    assert broken(bars.lost(seen(loss, Ledger(), before, NO_FILES, unsure))) == []


def test_a_power_loss_may_bring_back_what_somebody_has_removed() -> None:
    files, memory = stored({DAY: WHOLE}), Memory(NO_FILES, possible={DAY: [None]}, doubted={DAY})
    after = seen(step("power loss", "happened"), Ledger(), NO_FILES, files, memory)
    assert broken(bars.lost(after)) == []


def test_what_was_not_reported_before_a_power_loss_may_be_lost() -> None:
    ledger, memory = heard(WHOLE), Memory()
    killed = seen(step(ended="killed"), ledger, NO_FILES, stored({DAY: WHOLE}), memory)
    memory.take_over(killed, ledger.count)
    assert memory.possible[DAY] == [None, tuple(WHOLE)]
    settled = seen(step(value=COMPLETE), ledger, killed.now, killed.now, memory)
    memory.take_over(settled, ledger.count)
    assert memory.possible[DAY] == [tuple(WHOLE)]


def test_a_file_that_cannot_be_read_is_lost_unless_somebody_damaged_it() -> None:
    sound, damaged = stored({DAY: WHOLE}), StoreFiles.of({data_path(DAY): bars_file(WHOLE)[:-9]})
    torn = seen(step("verify"), Ledger(), sound, damaged)
    assert broken(bars.lost(torn)) == ["AAA 2024-03-05 cannot be read"]
    rotted = seen(step("rot", "happened"), Ledger(), sound, damaged)
    rotted.memory.note_damage(rotted)
    assert broken(bars.lost(rotted)) == []
    later = seen(step("verify"), Ledger(), damaged, damaged, rotted.memory)
    later.memory.note_damage(later)
    assert broken(bars.lost(later)) == []


def test_the_pages_of_one_walk_are_one_answer_and_a_page_that_comes_again_counts_once() -> None:
    ledger = Ledger()
    tell(ledger, DAY, WHOLE[:1], token="a", more=frozenset({DAY}))
    other = Ledger()
    for said, token, next_token in ((WHOLE[:1], "", "a"), ([row(1)], "a", "b"), (WHOLE[1:], "a", "")):
        _page(other, said, token, next_token)
    assert [word.is_whole for word in ledger.words_since(0)[DAY]] == [False]
    (word,) = other.words_since(0)[DAY]
    assert (word.rows, word.is_whole) == (tuple(WHOLE), True)


def test_a_page_that_comes_again_leaves_the_page_that_was_sent_for_ahead_of_it() -> None:
    ledger = Ledger()
    for said, token, next_token in ((WHOLE[:1], "", "a"), ([], "a", "b"), (WHOLE[2:], "b", ""), (WHOLE[1:2], "a", "b")):
        _page(ledger, said, token, next_token)
    (word,) = ledger.words_since(0)[DAY]
    assert (word.rows, word.is_whole) == (tuple(WHOLE), True)


def test_a_first_page_that_comes_again_is_followed_by_the_last_one_that_was_sent_for_ahead_of_it() -> None:
    ledger = Ledger()
    for said, token, next_token in (([row(1)], "", "a"), (WHOLE[1:], "a", ""), (WHOLE[:1], "", "a")):
        _page(ledger, said, token, next_token)
    word = ledger.words_since(0)[DAY][-1]
    assert (word.rows, word.is_whole) == (tuple(WHOLE), True)


def _page(ledger: Ledger, rows: list, token: str, next_token: str) -> None:
    spare = Ledger()
    tell(spare, DAY, rows, token=next_token, more=frozenset({DAY}) if next_token else frozenset())
    ((_, asked, answer),) = spare.asked
    ledger.delivered(evolve(asked, token=token), answer)


def test_what_the_provider_said_and_no_rule_lets_pass_is_not_stored() -> None:
    at, first, _, *rest = row(15)
    wrong = [row(0), (at, first, 0.5, *rest)]
    found = broken(bars.invented(seen(step(), heard(wrong), NO_FILES, stored({DAY: wrong})), heard(wrong).said))
    assert found == ["AAA 2024-03-05 has what is no bar: 2024-03-05T14:45:00Z 100.0 0.5 99.0 100.0 x500.0"]
