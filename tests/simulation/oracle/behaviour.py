"""Checks of how commands behave: they end, in words; ask for nothing twice; keep the limit; leave nothing behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from marketpipe.shared_kernel.domain.errors import MarketPipeError
from tests.simulation.ledger import MINUTES, Asked, Delivered, dates_between
from tests.simulation.oracle.memory import Memory, Seen
from tests.simulation.oracle.subject import Findings
from tests.simulation.outcome import Outcome

MOST_CALLS: Final = 200_000
LONGEST: Final = 12 * 3600.0
MINUTE: Final = 60_000_000
LONGEST_LATENCY: Final = 8.0
"""Seconds between a request and its answer."""
LEASE: Final = 600.0
SPARE: Final = 120.0
"""Seconds that a command may take for what is not counted."""
INGESTIONS: Final = ("update", "ingest", "ingest retry")
PAUSES: Final = ("wire too-many", "wire page")
"""What may be wrong with the wire if pauses are looked at: after other faults the next page may be on its way."""
TAKEN_BACK: Final = "the provider returned no bars, but"
TEMPORARY: Final = ".tmp"


def ends(seen: Seen) -> Findings:
    """Every run ends, in a number of calls and a time that are bounded."""
    for each in seen.outcome.all():
        calls, seconds = sum(each.calls.values()), seconds_of(each)
        if each.ended == "stuck":
            yield f"{_who(each)} waits for ever"
        elif calls > MOST_CALLS:
            yield f"{_who(each)} made {calls:,} calls"
        else:
            yield None if seconds <= LONGEST else f"{_who(each)} took {seconds / 3600:.1f} hours"


def ends_well(seen: Seen) -> Findings:
    """If nothing ever went wrong, an ingestion fails with no day: but where the provider takes back what it said."""
    is_calm = seen.memory.is_machine_well and seen.memory.is_provider_well and not seen.memory.has_odd_clock
    if not is_calm or not all(text.startswith("pause") for each in seen.outcome.all() for text in each.happened):
        return
    for report in seen.reports():
        failures = [f"{day}: {why}" for day, why in report.failures.items() if not why.startswith(TAKEN_BACK)]
        failures += [*report.aggregates.failures, *(f"{day}: {why}" for day, why in report.official.failures.items())]
        yield f"nothing went wrong, and yet {failures[0]}" if failures else None


def words(seen: Seen) -> Findings:
    """Nothing is raised but errors of MarketPipe, with a message that is text."""
    for each in seen.outcome.all():
        if each.error is not None:
            yield wrong_words(each.error, _who(each))
    for report in seen.reports():
        for text in report.failures.values():
            yield None if is_text(text) else f"the reason of a failure is no text: {text!r}"


def wrong_words(error: BaseException, who: str) -> str | None:
    """Return what is wrong with an error that was raised."""
    if not isinstance(error, MarketPipeError):
        return f"{who} raised {type(error).__name__}: {error}"
    return None if is_text(str(error)) else f"{who}: the message is no text: {str(error)!r}"


def is_text(message: str) -> bool:
    return bool(message.strip()) and all(letter == "\n" or letter.isprintable() for letter in message)


def asked_again(seen: Seen, memory: Memory, asked: Iterable[tuple[Asked, Delivered]]) -> Findings:
    """A plain ``ingest`` asks for no minutes of a day that was complete, if its file is untouched."""
    outcome = seen.outcome
    if outcome.step.kind != "ingest" or outcome.beside or outcome.ended != "returned":
        return
    reports = list(seen.reports())
    changed = {(str(day.symbol), str(day.trading_date)) for each in reports for day in each.official.changed}
    if any(each.readjusted for each in reports):
        return
    settled = memory.was_complete.keys() - changed
    for question, _ in asked:
        if question.timeframe == MINUTES:
            dates = dates_between(question.start, question.end)
            found = [(name, date) for name in question.symbols for date in dates if (name, date) in settled]
            yield None if not found else f"{found[0][0]} {found[0][1]} was complete, and its minutes were requested"


def asked_twice(seen: Seen) -> Findings:
    """Of ingestions at the same time one requests a day, and the others take over what it has settled."""
    if seen.kinds() != {"ingest"} or any(each.ended != "returned" or each.happened for each in seen.outcome.all()):
        return
    for day, words in sorted(seen.words.items()):
        who = sorted({word.process for word in words if word.is_whole})
        yield f"{' '.join(day)} was requested by {' and by '.join(who)}" if len(who) > 1 else None


def rate(limit: int, moments: Sequence[int]) -> Findings:
    """No minute of the server's clock has more requests than it allows; ``moments`` ascend, in microseconds."""
    for number, moment in enumerate(moments):
        first = number - limit
        in_one_minute = first >= 0 and moments[first] > moment - MINUTE
        yield None if not in_one_minute else f"more than {limit} requests in one minute, the last at {moment}"


def pause(seen: Seen, asked: Iterable[tuple[Asked, Delivered]]) -> Findings:
    """Who is told when to come again does not come before: of a command that runs alone, one request at a time."""
    outcome = seen.outcome
    if outcome.beside or not all(text.startswith(PAUSES) for text in outcome.happened):
        return
    until = 0.0
    for _, answer in asked:
        at = answer.at.epoch_micros
        yield f"a request came {(until - at) / 1e6:.1f} s before the pause had ended" if at < until else None
        if answer.retry_after:
            until = at + answer.retry_after * 1e6


def lease(seen: Seen, limit: int, asked: Sequence[tuple[Asked, Delivered]]) -> Findings:
    """A command that runs alone waits for no dead process: it takes no longer than its requests may take."""
    outcome = seen.outcome
    is_alone = not outcome.beside and outcome.ended == "returned" and not outcome.happened
    if outcome.step.kind not in INGESTIONS or not is_alone or any(answer.status != 200 for _, answer in asked):
        return
    count = len(asked)
    most = count * LONGEST_LATENCY + 60.0 * (count / limit + 1) + SPARE
    taken = seconds_of(outcome)
    yield None if taken <= most else f"{_who(outcome)} took {taken:.0f} s for {count} requests, though nobody else runs"


def lease_of_the_paused(seen: Seen, limit: int, asked: Sequence[tuple[Asked, Delivered]]) -> Findings:
    """Who hangs while it requests bars holds its leases for ten minutes, and the others need not wait for longer."""
    each = seen.outcome.all()
    hung = [one for one in each if any(text.startswith("pause") and " at GET " in text for text in one.happened)]
    if len(hung) != 1 or any(one.happened and one is not hung[0] for one in each) or not seen.memory.is_machine_well:
        return
    count = len(asked)
    most = LEASE + count * LONGEST_LATENCY + 60.0 * (count / limit + 1) + SPARE
    for one in each:
        if one is not hung[0] and one.ended == "returned" and one.step.kind in INGESTIONS:
            taken = seconds_of(one)
            yield None if taken <= most else f"{_who(one)} waited {taken:.0f} s for a process that hung"


def leftovers(seen: Seen) -> Findings:
    """After an ``update`` no folder of minute bars that it wrote to has a temporary file."""
    outcome = seen.outcome
    if outcome.step.kind != "update" or outcome.beside or outcome.ended != "returned" or outcome.happened:
        return
    changed = (path for path in seen.changed_paths() if path.startswith("data/") and not path.endswith(TEMPORARY))
    written = {path.rpartition("/")[0] for path in changed}
    for folder in sorted(written):
        left = [path for path in temporary_files(seen.now.contents) if path.rpartition("/")[0] == folder]
        yield None if not left else f"{left[0]} was left by a dead process, in a folder that an update wrote to"


def temporary_files(paths: Iterable[str]) -> list[str]:
    return sorted(path for path in paths if path.endswith(TEMPORARY))


def seconds_of(outcome: Outcome) -> float:
    return (outcome.over.epoch_micros - outcome.began.epoch_micros) / 1e6


def _who(outcome: Outcome) -> str:
    return f"{outcome.step.kind} of {outcome.process}" if outcome.process else outcome.step.kind
