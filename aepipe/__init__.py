"""Semantic hashing with stacked autoencoders: short binary codes for a collection, searched by Hamming distance.

``aepipe.open()`` opens a collection that is in service; see :mod:`aepipe.api`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aepipe.api import Collection, Results, open

__version__ = "0.1.0"
__all__ = ["Collection", "Results", "open"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that a verb does not wait for what it does not need."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module("aepipe.api"), name)
    return found
