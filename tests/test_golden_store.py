"""A store that an earlier version wrote: it opens, answers the same, is sound, and is not made again by a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from aepipe import recipe as recipes
from aepipe.cli.app import app
from aepipe.learn.trainer import Trainer
from aepipe.pipeline import encode, finetune, ingest, pretrain, publish, score, views
from aepipe.pipeline.resolve import ResolvedRecipe, resolve
from aepipe.recipe import Recipe
from aepipe.store.artifacts import KINDS, Ref, Store, ref_of

GOLDEN = Path(__file__).parent / "golden"
COLLECTION = GOLDEN / "collection"
WRITTEN_IN = "/tmp/collection"
"""The folder of the collection when the store was written; nothing is read from there."""
FAST = "--fast"
"""The order of codes, which was the rule when the answers were written."""
ANSWERS: list[dict[str, Any]] = [
    one
    for one in json.loads((GOLDEN / "answers.json").read_text(encoding="utf-8"))
    if "--min-confidence" not in one["ask"]
]


@pytest.fixture
def golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A copy of the store, which every verb uses, in a folder that has the query's picture."""
    shutil.copytree(GOLDEN / "store", tmp_path / "store")
    shutil.copy(COLLECTION / "query.png", tmp_path)
    monkeypatch.setenv("AEPIPE_HOME", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return Store(tmp_path / "store")


def aepipe(*words: str) -> str:
    """Run a verb that succeeds, and return what it prints."""
    found = CliRunner().invoke(app, list(words), prog_name="aepipe", catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def _as_then(now: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    """Return an answer with the keys that hits had when the answers were kept; they have got more since."""
    pairs = zip(now["hits"], then["hits"], strict=True)
    return now | {"hits": [{key: hit[key] for key in before} for hit, before in pairs]}


def without_confidence(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer as it is given today: the 24 items held out of that store are too few to tell a confidence."""
    return {**answer, "hits": [{**hit, "confidence": None} for hit in answer["hits"]]}


@pytest.mark.usefixtures("golden")
def test_no_confidence_is_asked_for_where_few_items_were_held_out() -> None:
    asked = ["query", "--id", "10", "--name", "changed", "--min-confidence", "0.9"]
    found = CliRunner().invoke(app, asked, prog_name="aepipe")
    assert found.exit_code == 2
    assert "24 items were held out, and it takes 100 of them" in " ".join(found.output.split())


@pytest.mark.parametrize("one", ANSWERS, ids=lambda one: " ".join(one["ask"]))
@pytest.mark.usefixtures("golden")
def test_a_query_is_answered_as_before(one: dict[str, Any]) -> None:
    order = [] if "--rerank" in one["ask"] else [FAST]
    found = [json.loads(line) for line in aepipe("query", *one["ask"], *order, "--json").splitlines()]
    then = [without_confidence(answer) for answer in one["answers"]]
    assert [_as_then(*pair) for pair in zip(found, then, strict=True)] == then
    assert any(answer["hits"] for answer in found)


@pytest.mark.usefixtures("golden")
def test_every_byte_is_sound() -> None:
    assert aepipe("verify", "--all").startswith("18 of 18 folders are sound")


@pytest.mark.usefixtures("golden")
def test_the_history_is_there() -> None:
    events = json.loads(aepipe("history", "--name", "changed", "--json"))
    assert [event["action"] for event in events] == ["promote", "promote", "promote", "rollback", "promote"]
    assert [event["why"] for event in events[1:]] == [
        "add: 12 rows added, 2 replaced",
        "remove: 3 rows",
        "try it without",
        "it was right",
    ]


def test_a_changed_release_is_compacted_without_training(golden: Store) -> None:
    before = directories(golden)
    aepipe("compact", "--name", "changed")
    made = directories(golden) - before
    assert {ref.kind for ref in made} == {"rows", "segment", "release"}
    (line,) = aepipe("query", "--id", "4", "--name", "changed", FAST, "--json").splitlines()
    before = next(one for one in ANSWERS if one["ask"] == ["--id", "4", "--name", "changed"])["answers"][0]
    then = without_confidence(before)
    assert _as_then(json.loads(line), then) == then


def test_a_run_makes_nothing_again(golden: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only items and releases name the folder of the source; all else is there already, wherever the source lies."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a layer is trained again")

    monkeypatch.setattr(Trainer, "run", refuse)
    monkeypatch.setattr(score, "VERSION", 4)  # the protocol of those scores; later ones are measured again
    before = directories(golden)
    resolved, release = resolve(recipe_here()), Ref("release", (golden.root / "service" / "golden").read_text().strip())
    rows = ingest.ingest(golden, resolved.source)
    assert rows == ingest.ingest(golden, resolved.source, previous=rows)
    parts = made_of(golden, resolved, rows)
    assert directories(golden) == before
    root = COLLECTION.absolute()
    found = publish.publish(golden, _as_published(resolved.recipe, root), root, **parts)
    assert {ref.kind for ref in directories(golden) - before} == {"segment", "release"}
    assert len(directories(golden) - before) == 2
    items = Ref.parse(golden.manifest(found).inputs["items"])
    assert moved(golden, items, root) in before
    there = golden.manifest(found).inputs | {"items": str(moved(golden, items, root))}
    assert ref_of("release", renamed(there, root)) == release


def made_of(store: Store, resolved: ResolvedRecipe, rows: Ref) -> dict[str, Any]:
    """Run the stages from rows to scores, and return what a release is published of."""
    seen = views.views(store, resolved, rows)
    layers: list[Ref] = []
    for _ in resolved.specs:
        layers.append(pretrain.pretrain(store, resolved, seen, layers))
    model = finetune.finetune(store, resolved, seen, layers)
    codes = [encode.encode(store, model, rows)]
    return {"rows": rows, "model": model, "codes": codes, "scores": score.score(store, resolved, rows, model, codes)}


def recipe_here() -> Recipe:
    """Return the recipe that the store was written by, in the folder where its source lies now."""
    return recipes.load(COLLECTION / "golden.toml")


def _as_published(recipe: Recipe, root: Path) -> Recipe:
    """Return a recipe whose source has an absolute path, as runs hand it on."""
    options = {**recipe.source.options, "path": str(root / recipe.source.options["path"])}
    return recipe.model_copy(update={"source": recipe.source.model_copy(update={"options": options})})


def directories(store: Store) -> set[Ref]:
    """Return all that the store has."""
    return {ref for kind in KINDS for ref in store.refs(kind)}


def moved(store: Store, ref: Ref, root: Path) -> Ref:
    """Return the name that a directory would have, had its source lain where the store was written."""
    return ref_of(ref.kind, renamed(store.manifest(ref).inputs, root))


def renamed(inputs: dict[str, Any], root: Path) -> dict[str, Any]:
    """Return inputs with the folder of then in place of the one of now."""
    found: dict[str, Any] = json.loads(json.dumps(inputs).replace(json.dumps(str(root))[1:-1], WRITTEN_IN))
    return found
