"""All mutants that are no repair of an attack taken out: mistakes as somebody may make them."""

from __future__ import annotations

from typing import Final

from tests.simulation.mutants.mutant import Mutant
from tests.simulation.mutants.of_coverage import OF_COVERAGE
from tests.simulation.mutants.of_derived import OF_DERIVED
from tests.simulation.mutants.of_promises import OF_PROMISES
from tests.simulation.mutants.of_state import OF_STATE
from tests.simulation.mutants.of_the_provider import OF_THE_PROVIDER
from tests.simulation.mutants.of_the_writer import OF_THE_WRITER
from tests.simulation.mutants.of_versions import OF_VERSIONS
from tests.simulation.mutants.unseen import UNSEEN

SABOTAGE: Final[tuple[Mutant, ...]] = (
    *OF_THE_WRITER,
    *OF_VERSIONS,
    *OF_STATE,
    *OF_COVERAGE,
    *OF_DERIVED,
    *OF_THE_PROVIDER,
    *OF_PROMISES,
    *UNSEEN,
)
