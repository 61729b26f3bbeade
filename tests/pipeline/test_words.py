"""What answers words, from the recipe to the store: what names it, and when it is made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aepipe import recipe as recipes
from aepipe import sources, words
from aepipe.errors import RecipeError
from aepipe.pipeline.resolve import named_words, override
from aepipe.pipeline.words import make_words
from aepipe.release.manifest import ReleaseManifest
from aepipe.release.release import Release
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store
from flows import quiet
from tests.support.towers import WIDTH, plan_of


def test_the_same_key_of_documents_is_a_number() -> None:
    assert named_words({"words": 2000}) is None
    assert named_words({"words": ""}) is None
    assert named_words({}) is None
    assert named_words({"words": "clip"}) == "clip"


def test_a_release_remembers_where_the_tower_is(colours: Store) -> None:
    read = plan_of(colours.root.parent).recipe
    table = read.model_dump(mode="json")
    near = recipes.parse(table | {"features": {**table["features"], "words": "towers"}}, read.file)
    assert override(near).features["words"] == str(colours.root.parent / "towers")
    assert words.is_place("towers")


def test_words_need_a_backbone(colours: Store) -> None:
    read = plan_of(colours.root.parent).recipe
    features = {name: value for name, value in read.features.items() if name != "backbone"}
    without = recipes.parse(read.model_dump(mode="json") | {"features": features}, read.file)
    with pytest.raises(RecipeError, match="words need the features of a network"):
        sources.resolve(without)


def test_a_change_of_words_trains_nothing(colours: Store) -> None:
    read = plan_of(colours.root.parent).recipe
    features = {name: value for name, value in read.features.items() if name != "words"}
    without = recipes.parse(read.model_dump(mode="json") | {"features": features}, read.file)
    assert quiet.learned(read) == quiet.learned(without)
    documents = [read.model_copy(update={"features": {"words": count}}) for count in (100, 200)]
    assert quiet.learned(documents[0]) != quiet.learned(documents[1])


def test_they_are_made_once_for_an_encoder(colours: Store, tmp_path: Path) -> None:
    release = Release.open(colours)
    spec = words.resolve(str(colours.root.parent / "towers"), base=Path(), width=WIDTH)
    rows, model = release.part("rows"), release.part("encoder")
    assert make_words(colours, spec, rows, model) == release.manifest.words
    assert make_words(colours, None, rows, model) is None
    manifest = json.loads((colours.path(release.ref) / layout.Release.MANIFEST).read_bytes())
    assert manifest["words"] == str(release.manifest.words)
    assert ReleaseManifest.parse(manifest).words == release.manifest.words


def test_the_pictures_that_the_encoder_learned_from_have_the_mean(colours: Store) -> None:
    release = Release.open(colours)
    spec = words.resolve(str(colours.root.parent / "towers"), base=Path(), width=WIDTH)
    with colours.draft("views") as draft:
        learned = np.random.default_rng(0).normal(size=(20, WIDTH)).astype(np.float32)
        np.save(draft.path / layout.Views.TRAIN, learned)
        views = draft.finish({"made": "by a test of words"})
    with colours.draft("model") as draft:
        model = draft.finish({"made": "by a test of words", "views": str(views)})
    made = make_words(colours, spec, release.part("rows"), model)
    assert isinstance(made, Ref)
    opened = words.opened(colours.path(made))
    np.testing.assert_allclose(opened.centre, learned.mean(axis=0), atol=1e-6)
    for one in (made, model, views):
        colours.remove(one)
