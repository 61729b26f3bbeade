"""``aepipe map``."""

from __future__ import annotations

import json

import pytest

from aepipe.cli import map as verb
from aepipe.errors import ExtraError
from aepipe.release import maps, placing
from aepipe.store.artifacts import Ref, Store
from tests.cli.conftest import Aepipe


def test_a_map_is_made_once(aepipe: Aepipe, own_store: tuple[Store, Ref], monkeypatch: pytest.MonkeyPatch) -> None:
    store, ref = own_store
    said = aepipe("map", home=store).stdout
    assert "40 rows on the map, 40 of them landmarks" in said
    assert maps.find(store, ref) is not None
    monkeypatch.setattr(placing, "_places", None)
    told = json.loads(aepipe("map", "--json", home=store).stdout)
    assert told == {"name": "pictures", "release": ref.digest, "rows": 40, "landmarks": 40}


def test_a_missing_extra_is_named(own_store: tuple[Store, Ref], monkeypatch: pytest.MonkeyPatch) -> None:
    from aepipe.cli.options import Place

    def missing(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")

    monkeypatch.setattr(placing, "make", missing)
    with pytest.raises(ExtraError, match=r"aepipe\[train\]"):
        verb.map(Place(home=own_store[0].root))
