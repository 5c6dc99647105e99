from __future__ import annotations

from collections.abc import Mapping

from marketpipe.shared_kernel.domain.trading_date import TradingDate


def still_settled(
    settled: frozenset[TradingDate], recorded: Mapping[TradingDate, int], on_disk: Mapping[TradingDate, int]
) -> frozenset[TradingDate]:
    """Of one symbol: without the dates whose recorded file is gone or has another size, in bytes, than it had."""
    return frozenset(day for day in settled if day not in recorded or on_disk.get(day) == recorded[day])
