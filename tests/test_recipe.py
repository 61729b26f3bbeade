"""The recipe: defaults, short forms, and one clear line for every mistake."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from aepipe.errors import RecipeError
from aepipe.recipe import Choice, Options, Recipe, load, parse, resolve

BASE: dict[str, Any] = {
    "name": "x",
    "source": {"kind": "images", "path": "a"},
    "layers": [{"net": {"kind": "dense", "width": 4}}],
}
FILE = Path("night.toml")


def test_defaults_come_from_the_model() -> None:
    recipe = parse(BASE, FILE)
    assert (recipe.seed, recipe.pretrain, recipe.code.bits, recipe.index.rows) == (0, True, 64, "all")
    assert recipe.layers[0].corruption == Choice(kind="none")
    assert recipe.file == FILE


def test_short_forms_of_a_choice() -> None:
    layer = {"net": {"kind": "dense", "width": 4}, "corruption": ["mask", {"kind": "block", "share": 0.5}]}
    recipe = parse(BASE | {"layers": [layer | {"likelihood": "bernoulli"}]}, FILE)
    assert recipe.layers[0].likelihood == Choice(kind="bernoulli")
    assert recipe.layers[0].corruption.kind == "chain"
    assert len(recipe.layers[0].corruption.options["of"]) == 2


def test_it_survives_its_own_dump() -> None:
    recipe = parse(BASE, FILE)
    assert parse(recipe.model_dump(mode="json"), FILE) == recipe


def test_it_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse(BASE, FILE).seed = 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": []}, "night.toml: layers: tuple should have at least 1 item"),
        ({"code": {"bits": 0}}, "night.toml: code.bits: input should be greater than or equal to 1, not 0"),
        ({"code": {"bits": 6.5}}, "night.toml: code.bits: input should be a valid integer, not 6.5"),
        ({"seed": "7"}, "night.toml: seed: input should be a valid integer, not '7'"),
        ({"pretrain": 1}, "night.toml: pretrain: input should be a valid boolean, not 1"),
        ({"code": {"bitz": 3}}, "night.toml: code.bitz: unknown key; allowed: bits, normalize, binarize,"),
        ({"layerz": []}, "night.toml: layerz: unknown key; allowed: name, seed, pretrain, source,"),
        (
            {"layers": [{"net": "dense", "fit": {"epoch": 3}}]},
            "night.toml: layers.0.fit.epoch: unknown key; allowed: epochs, batch, lr, schedule, warmup,",
        ),
        ({"layers": [{}]}, "night.toml: layers.0.net: missing"),
        ({"layers": "dense"}, "night.toml: layers: input should be a list, as in ['dense'], not 'dense'"),
        ({"source": 3}, "night.toml: source: input should be a table, not 3"),
        ({"source": {"path": "x"}}, "night.toml: source.kind: input should be a valid string, not None"),
        ({"name": "Über"}, "night.toml: name: it has other letters than lower-case ones and digits of any script"),
        ({"name": "../escape"}, "night.toml: name: it has other letters than lower-case ones"),
        ({"name": ".hidden"}, "night.toml: name: it begins with neither"),
        ({"name": ""}, "night.toml: name: it is empty"),
        ({"name": "x" * 65}, "night.toml: name: it has more than 64 letters or 120 bytes of UTF-8"),
        ({"name": "写" * 41}, "night.toml: name: it has more than 64 letters or 120 bytes of UTF-8"),
        ({"gate": {"metric": "luck"}}, "night.toml: gate.metric: input should be 'map', 'map_at_1000'"),
        ({"views": {"holdout": 1.0}}, "night.toml: views.holdout: input should be less than 1, not 1.0"),
    ],
)
def test_a_mistake_is_one_line_with_file_key_and_allowed_values(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(BASE | change, FILE)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_file_that_is_not_toml(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such recipe"):
        load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("name = \n")
    with pytest.raises(RecipeError, match=r"bad\.toml: not a readable TOML file: .*line 1"):
        load(tmp_path / "bad.toml")
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(RecipeError, match=r"latin\.toml: not a readable TOML file"):
        load(tmp_path / "latin.toml")


def test_another_source_replaces_the_written_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r.toml").write_text('name = "x"\n[source]\nkind = "images"\npath = "a"\n[[layers]]\nnet = "dense"\n')
    monkeypatch.chdir(tmp_path)
    assert load(tmp_path / "r.toml", source="b").source.options["path"] == str(tmp_path / "b")


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    class Small(Options):
        """Options of a kind."""

        size: int = 1

    assert resolve({"small": Small}, Choice(kind="small"), "net") == Small()
    with pytest.raises(RecipeError, match="net: unknown kind 'big'; allowed: small"):
        resolve({"small": Small}, Choice(kind="big"), "net")


def test_every_packaged_recipe_is_sound() -> None:
    files = sorted((Path(__file__).parents[1] / "flows" / "recipes").glob("*.toml"))
    assert files
    for file in files:
        assert isinstance(load(file), Recipe)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("seed = 99999999999999999999\n{}", "seed: an integer beyond 9,007,199,254,740,992"),
        ("{}[finetune]\nlr = inf\n", "finetune.lr: inf is no finite number"),
        ("{}[code]\nbits = 1000000\n", "code.bits: input should be less than or equal to 65536"),
        ("{}[views]\nholdout = " + "[" * 40 + "]" * 40, "more than 32 tables and lists within each other"),
        ("{}[views]\nholdout = " + "[" * 99_999 + "]" * 99_999, "not a readable TOML file: maximum recursion depth"),
        ("seed = " + "1" * 5000 + "\n{}", "not a readable TOML file: Exceeds the limit"),
        ("{}" + '[[layers]]\nnet = "dense"\n' * 70, "layers: tuple should have at most 64 items"),
        ("{}#" + "x" * (1 << 20), "more than 1,048,576 bytes"),
    ],
    ids=["integer", "infinite", "bits", "nested", "recursion", "digits", "layers", "bytes"],
)
def test_a_recipe_has_limits_that_are_said(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    whole = 'name = "x"\n[source]\nkind = "images"\npath = "p"\n[[layers]]\nnet = "dense"\n'
    file.write_text(text.replace("{}", whole, 1))
    with pytest.raises(RecipeError, match=re.escape(why)) as caught:
        load(file)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("path", ["x" * 5000, "a\\u0000b"], ids=["long", "nul"])
def test_a_path_of_a_recipe_has_a_length(path: str, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(f'name = "x"\n[source]\nkind = "images"\npath = "{path}"\n[[layers]]\nnet = "dense"')
    with pytest.raises(RecipeError, match=r"source\.path: a text with a NUL character, or of more than 4,096 letters"):
        load(file)
