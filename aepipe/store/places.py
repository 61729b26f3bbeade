"""Where stores are: that of the working directory, and one for each user.

Collections are made in ``$AEPIPE_HOME``, else in the nearest ``.aepipe`` from the working directory upwards, else in
``./.aepipe``. They are looked for there first, and then in the user's store: ``$XDG_DATA_HOME/aepipe``, by default
``~/.local/share/aepipe``, on a Mac ``~/Library/Application Support/aepipe``. Where ``$AEPIPE_HOME`` is set, or a folder
is given, nothing else is looked at.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from aepipe.store import registry
from aepipe.store.artifacts import Store


def users() -> Store:
    """Return the user's store; nothing is made."""
    given = os.environ.get("XDG_DATA_HOME", "")
    if os.path.isabs(given):  # a relative one is to be ignored, by the specification
        return Store(Path(given) / "aepipe")
    home = Path("~").expanduser()
    data = home / "Library" / "Application Support" if sys.platform == "darwin" else home / ".local" / "share"
    return Store(data / "aepipe")


def looked_at(home: str | os.PathLike[str] | None = None) -> list[Store]:
    """Return the stores that are looked at for a collection, in this order."""
    if home is not None:
        return [Store(Path(home).expanduser())]
    first, second = Store.locate(), users()
    if os.environ.get("AEPIPE_HOME") or not second.root.is_dir() or second.root == first.root:
        return [first]
    return [first, second] if first.root.is_dir() else [second]


def find(name: str | None = None, home: str | os.PathLike[str] | None = None) -> Store:
    """Return the store of a collection: the first that has it, or has any.

    Args:
        name: of the collection.
        home: the folder of the store, where it is given.
    """
    stores = looked_at(home)
    wanted = None if name is None else registry.tidy_name(name)
    for store in stores:
        known = registry.names(store)
        if wanted in known or (wanted is None and known):
            return store
    return stores[0]


def is_users(store: Store) -> bool:
    """Say whether a store is the user's, and not that of the working directory."""
    return store.root == users().root != Store.locate().root
