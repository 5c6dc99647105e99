"""MarketPipe keeps a local store of OHLCV bars complete, validated and verifiable.

The public names are listed in ``__init__.pyi``. Each is imported when it is first used (PEP 562), so ``import
marketpipe`` stays quick.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
