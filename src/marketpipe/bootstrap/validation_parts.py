from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define

from marketpipe.bootstrap.shared_parts import SharedParts
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.validation.domain.business_rules import RuleBook

if TYPE_CHECKING:
    from marketpipe.validation.application.bar_validator import BarValidator

SCHEMA_FILE = "schema_v1.json"


@define(slots=False)
class ValidationParts(SharedParts):
    """What validates bars."""

    def validator(self, kind: SessionKind, bus: EventBus) -> BarValidator:
        """It publishes what it finds on ``bus``."""
        from marketpipe.validation.application.bar_validator import BarValidator
        from marketpipe.validation.infrastructure.business_rule_validator import BusinessRuleValidator
        from marketpipe.validation.infrastructure.columnar_validator import ColumnarValidator
        from marketpipe.validation.infrastructure.schema_validator import SchemaValidator

        rules = BusinessRuleValidator(RuleBook.with_severities(self.config.validation.severities))
        columnar = ColumnarValidator(SchemaValidator(_bar_schema()), rules, self.calendar, kind)
        return BarValidator(columnar.validate, bus, self.clock)


def _bar_schema() -> dict[str, Any]:
    """From the wheel, or from the source tree, where its one copy lies in schema/."""
    package = Path(__file__).parents[1]
    for path in (package / SCHEMA_FILE, package.parents[1] / "schema" / SCHEMA_FILE):
        if path.is_file():
            schema: dict[str, Any] = json.loads(path.read_text("utf-8"))
            return schema
    raise ConfigurationError(f"{SCHEMA_FILE} is missing: MarketPipe is not installed properly; install it again")
