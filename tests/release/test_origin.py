"""No collection takes the place of another that has its name by chance."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from aepipe import recipe
from aepipe.errors import RecipeError
from aepipe.pipeline.places import names_of
from aepipe.recipe import Recipe
from aepipe.release import origin
from aepipe.release.origin import FACT, check_origin, free_names, paths_by_name, recipe_file_of
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from tests.support.releases import make_release


def recipe_at(file: Path, path: Path, name: str = "tiny") -> Recipe:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    table = {"name": name, "source": {"kind": "images", "path": str(path)}, "layers": [{"net": "dense"}]}
    return recipe.parse(table, file)


def serve(store: Store, made: Recipe, *, given: bool = False) -> Ref:
    """Put a release into service that says no more than what it was made from."""
    body = {"schema": 1, "name": made.name, "fingerprint": "0" * 64, "n_bits": 8, "rows": 1}
    body |= dict.fromkeys(("encoder", "items", "index", "scores", "source_rows"), f"rows/{'0' * 64}")
    body |= {"codes": [], "recipe": made.model_dump(mode="json"), "source_path": "x"}
    with store.draft("release") as draft:
        (draft.path / "release.json").write_text(json.dumps(body))
        ref = draft.finish(body, {"name": made.name, FACT: "" if given else str(made.file)})
    registry.promote(store, made.name, ref, why="by a test")
    return ref


def test_the_same_items_may_come_again_under_any_recipe(store: Store, tmp_path: Path) -> None:
    (tmp_path / "items").mkdir()
    check_origin(store, recipe_at(tmp_path / "first.toml", tmp_path / "items"), given=False)
    serve(store, recipe_at(tmp_path / "first.toml", tmp_path / "items"))
    check_origin(store, recipe_at(tmp_path / "second.toml", tmp_path / "items"), given=True)
    (tmp_path / "link").symlink_to(tmp_path / "items")
    check_origin(store, recipe_at(tmp_path / "third.toml", tmp_path / "link"), given=False)


def test_other_items_under_the_same_name_are_refused(store: Store, tmp_path: Path) -> None:
    serve(store, recipe_at(tmp_path / "first.toml", tmp_path / "a"))
    with pytest.raises(RecipeError) as caught:
        check_origin(store, recipe_at(tmp_path / "second.toml", tmp_path / "b"), given=False)
    said = str(caught.value)
    assert said.startswith(f"tiny: the collection in service under this name was made from {tmp_path / 'a'}, and ")
    assert str(tmp_path / "b") in said
    assert "--name" in said
    assert "--no-promote" in said
    check_origin(store, recipe_at(tmp_path / "second.toml", tmp_path / "b", "other"), given=False)


def test_a_path_that_was_changed_in_its_recipe_is_meant(store: Store, tmp_path: Path) -> None:
    serve(store, recipe_at(tmp_path / "first.toml", tmp_path / "a"))
    changed = recipe_at(tmp_path / "first.toml", tmp_path / "b")
    check_origin(store, changed, given=False)
    with pytest.raises(RecipeError, match="made from"):
        check_origin(store, changed, given=True)
    serve(store, changed, given=True)
    with pytest.raises(RecipeError, match="made from"):  # the recipe never spoke of b
        check_origin(store, recipe_at(tmp_path / "first.toml", tmp_path / "a"), given=False)


def test_recipe_and_items_may_move_together(store: Store, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    serve(store, recipe_at(old / "r.toml", old / "items"))
    (old / "items").mkdir()
    moved = recipe_at(new / "r.toml", new / "items")
    with pytest.raises(RecipeError, match="made from"):  # a copy is another project
        check_origin(store, moved, given=False)
    shutil.rmtree(old)
    check_origin(store, moved, given=False)
    with pytest.raises(RecipeError, match="made from"):
        check_origin(store, recipe_at(new / "r.toml", new / "others"), given=False)


def test_a_damaged_release_hides_no_other(store: Store, tmp_path: Path) -> None:
    made = [
        serve(store, recipe_at(tmp_path / f"{name}.toml", tmp_path / name, name)) for name in ("one", "two", "three")
    ]
    for name in ("one", "two", "three"):
        (store.root / "service" / name).unlink()
    refs = store.refs("release")
    assert sorted(refs) == sorted(made)
    (store.root / "release" / refs[0].digest / "manifest.json").write_text("torn")
    assert len(paths_by_name(store)) == 2


def test_names_that_others_have_are_passed_over(store: Store, tmp_path: Path) -> None:
    for name, folder in (("2024", "photos"), ("scans-2024", "others")):
        serve(store, recipe_at(tmp_path / f"{name}.toml", tmp_path / folder / "2024", name))

    def best(path: Path) -> str:
        return next(free_names(store, str(path), names_of(str(path))))

    assert best(tmp_path / "photos" / "2024") == "2024"
    assert best(tmp_path / "films" / "2024") == "films-2024"
    assert best(tmp_path / "scans" / "2024").endswith("-scans-2024")


def test_a_release_keeps_the_recipe_it_was_made_from(store: Store) -> None:
    ref = make_release(store, n=12)
    assert recipe_file_of(store, ref) == ""
    assert recipe_file_of(store, Ref("release", "0" * 64)) == ""


@pytest.mark.parametrize(
    ("old_file", "old_path", "file", "path", "meant"),
    [
        ("", "/a/items", "/a/x.toml", "/a/items", False),
        ("/a/x.toml", "/a/items", "/a/x.toml", "/b/other", True),
        ("/gone/x.toml", "/gone/items", "/b/x.toml", "/b/items", True),
        ("/gone/x.toml", "/gone/items", "/b/x.toml", "/b/other", False),
        ("/gone/x.toml", "s3://gone/items", "/b/x.toml", "/b/items", False),
        ("/gone/x.toml", "/gone/items", "/b/x.toml", "s3://b/items", False),
        ("THERE/x.toml", "/gone/items", "/b/x.toml", "/b/items", False),
    ],
)
def test_which_other_items_are_meant(
    old_file: str, old_path: str, file: str, path: str, meant: bool, tmp_path: Path
) -> None:
    """The same recipe says where they are now, or both have moved together: neither of the old ones is there."""
    (tmp_path / "x.toml").touch()
    said = [one.replace("THERE", str(tmp_path)) for one in (old_file, old_path, file, path)]
    assert origin._says_so(*said) is meant


def test_a_collection_out_of_service_is_known_by_its_releases(store: Store) -> None:
    ref = make_release(store, n=6, shape=(4, 4, 1), promote=False)
    assert registry.names(store) == []
    assert paths_by_name(store) == {"pictures": {origin.path_of(store, ref)}}
    assert origin.path_of(store, ref)
