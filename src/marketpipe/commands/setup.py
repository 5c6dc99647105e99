"""The commands with which a store is set up."""

from __future__ import annotations

from marketpipe.commands.options import Config, Json


def providers(config: Config = None, json: Json = False) -> None:
    """List the market data providers.

    An asterisk marks the configured one.
    """
    from marketpipe.config import load_store_config
    from marketpipe.provider_registry import known_providers
    from marketpipe.terminal.store import print_providers

    configured = getattr(load_store_config(config), "provider", None)
    print_providers(known_providers(), configured, as_json=json)
