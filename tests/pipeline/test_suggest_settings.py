"""Values that are asked for before there is a recipe: it is derived under them, and has them."""

from __future__ import annotations

import sqlite3
import tomllib
from pathlib import Path

import pytest

from aepipe.errors import RecipeError, SourceError
from aepipe.pipeline.suggest import suggest
from aepipe.pipeline.sweep import read_settings
from aepipe.sources.given import is_written, toml, written


@pytest.fixture
def headless(tmp_path: Path) -> Path:
    """A table whose first line looks like names, but is a row."""
    lines = ["alpha,one", *(f"word{n % 3},{'one' if n % 2 else 'two'}" for n in range(150))]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "t.csv"


def test_a_recipe_is_derived_under_options_of_its_source(headless: Path, tmp_path: Path) -> None:
    settings = read_settings(["source.header=false", "source.max_bad_share=0.5", "code.bits=32", "seed=7"])
    _, text, _ = suggest(str(headless), folder=tmp_path, settings=settings)
    recipe = tomllib.loads(text)
    assert recipe["source"]["header"] is False
    assert recipe["source"]["max_bad_share"] == 0.5
    assert (recipe["code"]["bits"], recipe["seed"]) == (32, 7)
    assert "bits = 32  # as asked" in text
    assert text.startswith("# Derived from 151 rows")
    assert "Derived from 150 rows" in suggest(str(headless), folder=tmp_path)[1]


def test_the_table_and_the_files_that_are_asked_for_are_looked_at(tmp_path: Path) -> None:
    shop = tmp_path / "in" / "shop.db"
    shop.parent.mkdir()
    with sqlite3.connect(shop) as database:
        database.execute("CREATE TABLE goods (kind TEXT, price REAL)")
        database.execute("CREATE TABLE notes (name TEXT)")
        database.executemany("INSERT INTO goods VALUES (?, ?)", [("ab"[n % 2], n) for n in range(40)])
    with pytest.raises(SourceError, match=r"has 2 tables: goods, notes; say which with --set source\.table=NAME"):
        suggest(str(shop), folder=tmp_path)
    for asked in ("source.table=goods", "source.query=SELECT kind, price FROM goods"):
        recipe = tomllib.loads(suggest(str(shop), folder=tmp_path, settings=read_settings([asked]))[1])
        assert recipe["source"]["kind"] == "table"
    (shop.parent / "t.csv").write_text("kind,price\n" + "a,1\nb,2\n" * 20)
    asked_of_files = {"source.exclude": ["*.db"]}
    _, text, held = suggest(str(shop.parent), folder=tmp_path, settings=asked_of_files)
    assert tomllib.loads(text)["source"]["exclude"] == ["*.db"]
    assert (held.files, list(held.kinds)) == (1, ["table"])


def test_a_value_takes_the_place_of_the_derived_one(headless: Path, tmp_path: Path) -> None:
    asked = {"source.split.test": 0.3, "source.types.alpha": "text", "gate.max_regression": 0.1}
    recipe = tomllib.loads(suggest(str(headless), folder=tmp_path, settings=asked)[1])
    assert recipe["source"]["split"] == {"test": 0.3}
    assert recipe["source"]["types"] == {"alpha": "text"}
    assert recipe["gate"]["max_regression"] == 0.1


def test_a_wrong_key_or_value_is_named(headless: Path, tmp_path: Path) -> None:
    for asked, said in (
        ({"source.languag": "de"}, "source.languag: unknown key; allowed: path, "),
        ({"code.bits": "many"}, "code.bits: .* not 'many'"),
        ({"source.header": "no"}, "source.header: .* not 'no'"),
    ):
        with pytest.raises(RecipeError, match=said):
            suggest(str(headless), folder=tmp_path, settings=asked)


def test_values_are_toml_and_words_need_no_quotes() -> None:
    texts = ["a.b=1e-3", "a.c=true", "a.d=de", 'a.e="1"', "a.f=[1, 2]", "a.g=;", "a.h={ x = 1 }", "a.i=a/b.txt"]
    found = read_settings(texts)
    assert list(found.values()) == [1e-3, True, "de", "1", [1, 2], ";", {"x": 1}, "a/b.txt"]
    for value in found.values():
        assert tomllib.loads(f"v = {toml(value)}")["v"] == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("code.bits", "not of the form KEY=VALUE"),
        ("=3", "not of the form"),
        ("name=x", "--name says that"),
        ("source.path=x", "--source says that"),
    ],
)
def test_what_is_no_setting(text: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        read_settings([text])
    with pytest.raises(RecipeError, match="given twice"):
        read_settings(["seed=1", "seed=2"])


def test_keys_of_lists_and_choices_are_for_one_run_only() -> None:
    assert not any(map(is_written, ("layers.0.fit.epochs", "fit.epochs", "finetune.objective.k", "depth")))
    assert written(['name = "x"', "[code]\nbits = 64"], {"fit.epochs": 1, "features.words": 9}) == [
        'name = "x"',
        "[code]\nbits = 64",
        "[features]\nwords = 9  # as asked",
    ]
