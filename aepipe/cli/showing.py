"""The verb ``show``."""

from __future__ import annotations

from aepipe.cli import shelving
from aepipe.cli.options import AsJson, Place, ReleaseText
from aepipe.cli.output import say, say_json
from aepipe.report import releases


def show(place: Place, release: ReleaseText = None, as_json: AsJson = False) -> None:
    """Say what is in service, how good it is, and where it lies.

    Scores stand beside random hyperplanes (lsh), signs of principal components (pca-sign), ITQ at the
    same number of bits, and exact search among the float features. Where the shelf has a release of
    the same recipe without pretraining, the difference is what pretraining was worth.

    Examples:
      aepipe show                         every collection in service
      aepipe show --name fashion
      aepipe show 3f9a0c11                a release that need not be in service
      aepipe show --json | jq '.[].scores'
    """
    store = place.store()
    found = [releases.describe(store, ref) for ref in shelving.wanted(store, release, place.name)]
    if as_json:
        say_json(found)
    else:
        say("\n\n".join(map(releases.describe_text, found)))
