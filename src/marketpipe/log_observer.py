from __future__ import annotations

import logging

from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events.bar_events import BarsExhausted
from marketpipe.shared_kernel.events.job_events import JobFinished, JobStarted, SymbolDaysRecorded
from marketpipe.shared_kernel.events.provider_events import RateLimitWaited, RequestRetried

logger = logging.getLogger("marketpipe.ingestion")
logging.getLogger("marketpipe").addHandler(logging.NullHandler())  # without a set-up, nothing goes to standard error


class LogObserver:
    """Says in the log what an operator would want to find there. Configures nothing: levels and handlers are yours."""

    def observe(self, bus: EventBus) -> None:
        bus.observe(JobStarted, self.on_job_started)
        bus.observe(JobFinished, self.on_job_finished)
        bus.observe(SymbolDaysRecorded, self.on_symbol_days_recorded)
        bus.observe(RequestRetried, self.on_request_retried)
        bus.observe(RateLimitWaited, self.on_rate_limit_waited)
        bus.observe(BarsExhausted, self.on_bars_exhausted)

    def on_job_started(self, event: JobStarted) -> None:
        logger.info(
            "job %d: %d symbol-days to ask %s for, in %d batches; %d known before",
            event.job_id,
            event.planned,
            event.provider,
            event.batches,
            event.settled,
        )

    def on_job_finished(self, event: JobFinished) -> None:
        logger.info("job %d: %s", event.job_id, event.state)

    def on_symbol_days_recorded(self, event: SymbolDaysRecorded) -> None:
        for outcome in event.outcomes:
            if outcome.error is not None:
                logger.warning("job %d: %s failed: %s", event.job_id, outcome.symbol_day, outcome.error)

    def on_request_retried(self, event: RequestRetried) -> None:
        logger.info("attempt %d failed (%s); again in %.1f s", event.attempt, event.reason, event.wait_seconds)

    def on_rate_limit_waited(self, event: RateLimitWaited) -> None:
        logger.info("waiting %.1f s for the rate limit of %s", event.seconds, event.provider)

    def on_bars_exhausted(self, event: BarsExhausted) -> None:
        if event.unrequested:
            logger.warning("%d bars came that nobody had asked for; they were dropped", event.unrequested)
