"""``SimulatedPipeline``: the product as it is, on a simulated machine, with Alpaca's client over a simulated wire."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
from prometheus_client import CollectorRegistry

from marketpipe import Pipeline
from marketpipe.config import PipelineConfig
from marketpipe.integration.infrastructure.alpaca.alpaca_capabilities import alpaca_capabilities
from marketpipe.integration.infrastructure.alpaca.alpaca_client import AlpacaClient, alpaca_auth
from marketpipe.integration.infrastructure.http_exchange import HttpExchange
from marketpipe.integration.infrastructure.rate_limits.rate_limiter import FileRateLimit, RateLimiter, RateWindow
from marketpipe.integration.infrastructure.retry import RetryPolicy
from marketpipe.shared_kernel.infrastructure.machine.machine import Machine
from tests.simulation.machine_events import STORE
from tests.simulation.process import Process
from tests.simulation.story import Story
from tests.simulation.wire import Wire

if TYPE_CHECKING:
    from tests.simulation.world import World

SERVER: Final = "http://127.0.0.1:9"
"""Nothing listens there, and nothing asks it: the wire answers. A loopback address needs no certificates."""


def config_of(story: Story) -> PipelineConfig:
    """Return what the users of a story have configured."""
    traits, root = story.traits, Path(STORE)
    return PipelineConfig(
        provider="alpaca",
        symbols=[symbol.symbol for symbol in story.symbols],
        start=traits.start,
        end="latest",
        session=traits.session,
        output_path=root / "data",
        aggregates_path=root / "aggregates",
        quarantine_path=root / "quarantine",
        revisions_path=root / "revisions",
        official_path=root / "official",
        copies_path=root / "copies",
        state_path=root / "state" / "marketpipe.sqlite",
        timeframes=traits.timeframes,
        read_copies=traits.copies,
        workers=traits.workers,
        coverage={"confirmations": traits.confirmations},
        alpaca={
            "feed": traits.feed,
            "adjustment": traits.adjustment,
            "base_url": SERVER,
            "rate_limit_per_min": traits.requests_per_minute,
        },
    )


class SimulatedPipeline(Pipeline):
    """A ``Pipeline`` of one process of a world."""

    def __init__(self, config: PipelineConfig, process: Process, machine: Machine, transport: httpx.BaseTransport):
        self._machine = machine
        provider = _client(config, process, machine, transport, self._publish)
        super().__init__(config, registry=CollectorRegistry(), market_data_provider=provider, clock=process.clock)

    def _publish(self, event: Any) -> None:
        self._parts.bus.publish(event)


def new_pipeline(world: World, process: Process) -> SimulatedPipeline:
    """Make a pipeline of the world's store in this process."""
    return SimulatedPipeline(config_of(world.story), process, process.machine(), Wire(world, process))


def _client(
    config: PipelineConfig, process: Process, machine: Machine, transport: httpx.BaseTransport, publish: Any
) -> AlpacaClient:
    alpaca, clock = config.alpaca, process.clock
    windows = [RateWindow(alpaca.rate_limit_per_min)]
    shared = FileRateLimit(config.state_path.with_name("rate-limit-alpaca"), windows, clock, machine=machine)
    return AlpacaClient(
        alpaca_capabilities(alpaca.feed, alpaca.adjustment, alpaca.rate_limit_per_min, alpaca.asof),
        HttpExchange(alpaca.base_url, alpaca_auth("key", "secret"), transport=transport),
        RateLimiter(windows, clock, shared_in=shared),
        clock,
        retry=RetryPolicy(uniform=machine.uniform),
        publish=publish,
        new_executor=machine.threads.executor,
    )
