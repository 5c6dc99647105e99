"""What every worker process needs: imported once, before they are forked. Nothing here may begin a thread."""

from __future__ import annotations

import marketpipe.bootstrap.ring_worker
import marketpipe.ingestion.application.leases
import marketpipe.ingestion.application.recovery
import marketpipe.ingestion.infrastructure.sqlite_state
import marketpipe.integration.application.bars_fetcher
import marketpipe.integration.infrastructure.alpaca.alpaca_client
import marketpipe.integration.infrastructure.http_exchange
import marketpipe.integration.infrastructure.rate_limiter
import marketpipe.integration.infrastructure.whole_day_assembler
import marketpipe.shared_kernel.infrastructure.exchange_calendar
import marketpipe.storage.application.bar_handlers
import marketpipe.storage.infrastructure.partition_manager
import marketpipe.validation.application.bar_validator
import marketpipe.validation.infrastructure.columnar_validator
import marketpipe.validation.infrastructure.schema_validator  # noqa: F401
