"""Present names of releases whose collection was renamed.

::

    <root>/names.json   the present name by digest of the release; missing where no collection was renamed

The file is written as a whole, so a release never has two names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from aepipe.errors import BusyError, CorruptError
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store

TRIES = 5
"""Times that the file is written while others write it, too."""


def given(store: Store) -> dict[str, str]:
    """Return the present name of each release that was made under another one, by digest.

    Raises:
        CorruptError: the file is not what was written.
    """
    file = store.place(layout.Root.NAMES)
    try:
        found = json.loads(store.backend.read(layout.Root.NAMES))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CorruptError(f"{file}: corrupt, not the names of releases ({error}); put a copy of it back") from None
    if not isinstance(found, dict):
        raise CorruptError(f"{file}: corrupt, not the names of releases; put a copy of it back")
    return found


def present(store: Store, release: Ref, recorded: str) -> str:
    """Return the present name of a release.

    Args:
        store: where it is.
        release: its reference.
        recorded: the name that it was made under.
    """
    return given(store).get(release.digest, recorded)


def give(store: Store, names: Mapping[str, str | None]) -> None:
    """Give releases a name, by digest; None forgets that one had another than the recorded one."""
    for left in reversed(range(TRIES)):
        before = given(store)
        after = {digest: name for digest, name in {**before, **names}.items() if name is not None}
        try:
            if after != before:
                store.backend.swap(layout.Root.NAMES, json.dumps(after, indent=1).encode())
            return
        except BusyError:  # another collection was renamed at this moment
            if not left:
                raise
