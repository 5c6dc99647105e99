"""What people do with a store: each command of a story, by the kind of its step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from tests.simulation.story import Step, Story

if TYPE_CHECKING:
    from marketpipe import Pipeline
    from marketpipe.storage.domain.dataset_lock import DatasetLock
    from tests.simulation.outcome import Outcome


class Subject(Protocol):
    """What a command needs of a world."""

    story: Story
    outcomes: list[Outcome]


Command = Callable[[Subject, "Pipeline", Step], Any]
LATEST: Final = "latest"


def last_lock(world: Subject) -> DatasetLock | None:
    """Return what was frozen last; None before."""
    each = (outcome for step in reversed(world.outcomes) for outcome in step.all())
    return next((one.value for one in each if one.step.kind == "freeze" and one.value is not None), None)


def _symbols(world: Subject, step: Step) -> list[str]:
    named = step.what.get("symbols")
    return named.split(",") if named else [symbol.symbol for symbol in world.story.symbols]


def _range(world: Subject, step: Step) -> tuple[list[str], str, str]:
    start, end = step.what.get("start", world.story.traits.start), step.what.get("end", LATEST)
    return _symbols(world, step), start, end


def _ingest(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    return pipeline.ingest(*_range(world, step))


def _retry(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    return pipeline.ingest(*_range(world, step), retry_suspect=True)


def _update(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    return pipeline.update(_symbols(world, step))


def _audit(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    return pipeline.audit(*_range(world, step))


def _adopt(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    return pipeline.audit(*_range(world, step), adopt=True)


def _plan(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    return pipeline.plan(*_range(world, step))


def _get(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    return pipeline.get(*_range(world, step), complete="ignore")


def _verify(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    return pipeline.verify()


def _verify_lock(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    """Compare with the lock that was made last, or verify everything if none was."""
    return pipeline.verify(lock=last_lock(world))


def _freeze(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    return pipeline.freeze()


def _recover(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    return pipeline.recover()


def _recover_anyway(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    return pipeline.recover(force=True)


def _aggregate(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    named = step.what.get("timeframes")
    return pipeline.aggregate(timeframes=named.split(",") if named else None)


def _compact(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    return pipeline.compact()


def _expand(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    return pipeline.compact(undo=True)


def _drop(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    return pipeline.drop(_symbols(world, step))


def _load(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    what = step.what
    form = {name: what[name] for name in ("as_of", "source") if name in what}
    return pipeline.load(*_range(world, step), what.get("timeframe", "1m"), complete="ignore", **form)


def _coverage(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    return pipeline.coverage(*_range(world, step))


def _status(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    return pipeline.status()


def _validate(world: Subject, pipeline: Pipeline, step: Step) -> Any:
    return pipeline.validate()


COMMANDS: Final[Mapping[str, Command]] = {
    "ingest": _ingest,
    "ingest retry": _retry,
    "update": _update,
    "audit": _audit,
    "audit adopt": _adopt,
    "plan": _plan,
    "get": _get,
    "verify": _verify,
    "verify lock": _verify_lock,
    "freeze": _freeze,
    "recover": _recover,
    "recover force": _recover_anyway,
    "aggregate": _aggregate,
    "compact": _compact,
    "expand": _expand,
    "drop": _drop,
    "load": _load,
    "load as of": _load,
    "load aggregate": _load,
    "load official": _load,
    "coverage": _coverage,
    "status": _status,
    "validate": _validate,
}
"""``what`` may name ``symbols`` (with commas in between), ``start`` and ``end``, and the ``timeframe`` of a load."""
