"""A release that rows were added to and removed from -> one that is built of what is left; nothing is learned.

What was removed is in none of its files. The scores stay those of the release that was measured.
"""

from __future__ import annotations

from aepipe import recipe
from aepipe.folding import fold, join_codes
from aepipe.parts import RELEASE
from aepipe.release import Release
from aepipe.stages.publish import publish
from aepipe.store import Ref, Store


def compact(store: Store, release: Release) -> Ref:
    """Build a release anew of the rows that it has; the release itself where nothing has changed.

    Raises:
        CorruptError: something on the shelf is not what was written.
        FullError: the disk is full.
    """
    if not release.changed:
        return release.ref
    rows = fold(store, release)
    codes = join_codes(store, release.all_parts("codes"), release.items.ids)
    read = recipe.parse(release.recipe, store.path(release.ref) / RELEASE)
    model, scores = release.part("encoder"), release.part("scores")
    return publish(store, read, release.items.root, rows=rows, model=model, codes=[codes], scores=scores)
