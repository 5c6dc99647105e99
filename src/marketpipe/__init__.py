"""MarketPipe keeps a local store of OHLCV bars complete, validated and verifiable.

The public names are listed in ``__init__.pyi``. Each is imported when it is first used (PEP 562), so ``import
marketpipe`` stays quick. What imports them is loaded with the first of them: while this module itself is imported, the
command line cannot handle Ctrl-C yet.
"""

from __future__ import annotations


def __getattr__(name):
    import lazy_loader

    attached = lazy_loader.attach_stub(__name__, __file__)
    globals().update(zip(("__getattr__", "__dir__", "__all__"), attached, strict=True))
    return globals()["__all__"] if name == "__all__" else attached[0](name)


def __dir__():
    return list(__getattr__("__all__"))
