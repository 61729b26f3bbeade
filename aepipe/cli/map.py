"""The verb ``map``."""

from __future__ import annotations

import os
import time

from aepipe.cli.options import AsJson, Place, ReleaseOption
from aepipe.cli.output import say, say_json
from aepipe.cli.progress import showing


def map(place: Place, release: ReleaseOption = None, json: AsJson = False) -> None:
    """Make the map of a collection, which the page of `aepipe serve` shows.

    All rows on a plane, similar ones near each other. t-SNE places 5,000 landmarks; every other row
    lies between its eight nearest landmarks by Hamming distance, so a million rows take minutes. The
    map belongs to one release, and `aepipe gc` keeps it as long as that; it is made anew after the next
    `aepipe run`, `add` or `remove`. Making it needs the extra `train`, showing it does not.

    Examples:
      aepipe map --name photos
      aepipe map && aepipe serve --open
    """
    from aepipe.release import placing
    from aepipe.sources.packages import extras_named

    collection, began = place.open(release), time.monotonic()
    with showing(), extras_named():
        found = placing.make(collection.store, collection.release, threads=os.cpu_count() or 1)
    ref = collection.release.ref
    if json:
        say_json({"name": collection.name, "release": ref.digest, "rows": len(found), "landmarks": found.landmarks})
    else:
        took = f"in {time.monotonic() - began:.1f} s"
        rows = f"{len(found):,} rows on the map, {found.landmarks:,} of them landmarks"
        say(f"{collection.name} ({ref.short}): {rows}, {took}")
