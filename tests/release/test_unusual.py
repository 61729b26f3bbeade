"""Questions unlike a whole collection: they are told, whatever they ask for, and have no confidence."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aepipe import recipe as recipes
from aepipe.api import Collection
from aepipe.codes.bitcodes import BitCodes
from aepipe.codes.encoder import Encoding
from aepipe.pipeline import publish, score
from aepipe.pipeline.resolve import ResolvedRecipe
from aepipe.release import unusual
from aepipe.release.query import Answer
from aepipe.release.release import Release
from aepipe.release.search import Found, Question
from aepipe.store.artifacts import Store
from tests.support.releases import make_release, pictures_of


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """A collection of 600 pictures, of which 120 are held out."""
    store = Store(tmp_path_factory.mktemp("unusual") / "store")
    release = Release.open(store, ref=make_release(store, n=600, promote=False))
    asking = {**release.recipe, "evaluate": {**release.recipe["evaluate"], "queries": 200}}
    recipe = recipes.parse(asking, Path("pictures.toml"))
    parts = {"rows": release.part("rows"), "model": release.part("encoder"), "codes": release.all_parts("codes")}
    resolved = ResolvedRecipe.__new__(ResolvedRecipe)
    object.__setattr__(resolved, "recipe", recipe)
    scores = score.score(store, resolved, **parts)  # type: ignore[arg-type]
    root = Path(release.manifest.source_path)
    ref = publish.publish(store, recipe, root, scores=scores, **parts)  # type: ignore[arg-type]
    return Collection(store, Release.open(store, ref=ref))


def noise(count: int) -> list[bytes]:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (28, 28), np.uint8)).save(stream, "PNG")
        found.append(stream.getvalue())
    return found


def strange(answers: list[Answer]) -> list[bool]:
    return [answer.strange is not None for answer in answers]


def test_scores_hold_limits_and_curves(opened: Collection) -> None:
    assert opened.scores["strangers"]["items"]["n_queries"] == 120
    curves = opened.scores["calibration"]["curves"]
    assert set(curves) == {"items", "items where", "later"}
    assert opened.release.space is not None


def test_noise_is_told_and_has_no_confidence(opened: Collection) -> None:
    found = list(opened.answers(*noise(20)))
    assert np.mean(strange(found)) >= 0.8
    told = next(answer for answer in found if answer.strange)
    assert told.strange is not None
    assert told.strange.startswith("unlike anything here")
    assert told.hits
    assert all(hit.confidence is None for hit in told.hits)


def test_items_of_the_collection_are_not(opened: Collection) -> None:
    items = [file.read_bytes() for file in sorted(pictures_of(opened.store).rglob("*.png"))[:60]]
    found = list(opened.answers(*items))
    assert not any(strange(found)), "each has the code of a row"
    assert all(hit.confidence is not None for answer in found for hit in answer.hits)
    assert not any(strange(list(opened.answers(ids=[0, 1]))))


@pytest.mark.parametrize("options", [{"k": 3}, {"radius": 20}, {"fast": True}, {"distinct": True}, {"bits": 32}])
def test_what_is_asked_for_changes_nothing(opened: Collection, options: dict[str, int]) -> None:
    items = noise(10)
    assert strange(list(opened.answers(*items, **options))) == strange(list(opened.answers(*items)))  # type: ignore[arg-type]


def test_it_is_judged_before_a_condition(opened: Collection) -> None:
    """A row of the collection is no stranger where only rows unlike it may be found."""
    first = next(iter(opened.release.items.ids))
    item = pictures_of(opened.store) / opened.release.describe([first])[0].key
    far = np.asarray(opened.release.items.ids)[-5:]
    (answer,) = opened.answers(item, where=far)
    assert answer.hits[0].distance > 0
    assert answer.strange is None
    assert strange(list(opened.answers(*noise(10), where=far))) == strange(list(opened.answers(*noise(10))))


def test_a_release_without_the_files_still_answers(opened: Collection, tmp_path: Path) -> None:
    old = Release.open(opened.store, ref=opened.release.ref)
    old.__dict__["scores"] = {name: value for name, value in opened.scores.items() if name != "strangers"}
    old.__dict__["space"] = None
    (answer,) = Collection(opened.store, old).answers(*noise(1))
    assert answer.hits


def test_the_nearest_row_is_by_code_even_where_embeddings_order_hits() -> None:
    ids, far = np.array([4, 7]), np.array([3, 1], np.uint16)
    assert unusual._of_rows(Found(ids, far, [0.9, 0.8], 0)) == (pytest.approx(np.log(0.1 + 1e-3)), 0)
    assert unusual._of_rows(Found(ids, far, None, 1)) == (1.0, 1)
    assert unusual._of_rows(Found(ids, far)) == (3.0, 3)


def documents(features: dict[str, Any], scores: dict[str, Any]) -> Any:
    """Return what a release of documents says of itself."""
    encoder = SimpleNamespace(card=SimpleNamespace(source="text", features=features))
    return SimpleNamespace(scores=scores, encoder=encoder, space=None)


def test_figures_of_documents_are_the_length_of_their_embedding_and_their_unknown_words() -> None:
    asked = [Question("a.txt", data=b"red red blue"), Question("b.txt", data=b"xyzzy"), Question("c.txt", data=b"\xff")]
    embedding = np.array([[3, 4], [0.1, 0], [1, 1]], np.float32)
    found = Encoding(BitCodes.from_bits(np.zeros((3, 8))), embedding, np.zeros((3, 8), np.float32))
    release = documents({"vocabulary": ["red", "blue"], "mail": False}, {"strangers": {"items": {}}})
    told = unusual.figures_of(release, np.zeros((3, 2)), found, asked)
    assert [one["faint"] for one in told] == pytest.approx([-np.log(5), -np.log(0.1), -np.log(2**0.5)], abs=1e-4)
    assert [one["unknown"] for one in told] == pytest.approx([1 - 3.5 / 4, 1 - 0.5 / 2, told[2]["unknown"]])
    read_by_a_network = documents({"backbone": "x"}, {"strangers": {"items": {}}})
    assert [set(one) for one in unusual.figures_of(read_by_a_network, np.zeros((3, 2)), found, asked)] == [
        {"faint"}
    ] * 3
    for scores in ({}, {"strangers": {}}):
        assert unusual.figures_of(documents({}, scores), np.zeros((3, 2)), found, asked) == [{}, {}, {}]
