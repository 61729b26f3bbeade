"""Own words of a collection: folders, labels, columns, and what the rows that carry them look like."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aepipe import recipe, sources
from aepipe.errors import RecipeError, SourceError
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.resolve import resolve
from aepipe.store.artifacts import Store
from aepipe.store.rows import Rows
from aepipe.words.own import OwnWords, carries, own_words, tidy


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """Six pictures of three shades with a title, tags and a folder."""
    lines = ["image;key;title;tags"]
    for number in range(6):
        file = Path("holidays_2021") / ("Minka" if number < 2 else "beach") / f"{number}.png"
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2), 40 * number).save(tmp_path / file)
        tags = json.dumps(["sea", "12"][: number % 3]).replace('"', '""')
        lines.append(f'{file};{file};No_{number // 3} place;"{tags}"')
    (tmp_path / "list.csv").write_text("\n".join(lines))
    source = {"kind": "images", "path": str(tmp_path / "list.csv"), "key": "key"}
    table = {
        "name": "mine",
        "source": source,
        "features": {"size": [2, 2], "color": "gray"},
        "layers": [{"net": "dense"}],
    }
    store = Store(tmp_path / "store")
    ref = ingest(store, sources.resolve(recipe.parse(table, tmp_path / "mine.toml")))
    return Rows(store.path(ref))


def test_folders_and_columns_are_words(rows: Rows) -> None:
    assert own_words(rows, ()).texts == ("beach", "Minka"), "what all rows carry tells none of them apart"
    found = own_words(rows, ("title", "tags"))
    assert set(found.texts) == {"beach", "Minka", "No 0 place", "No 1 place", "sea"}
    means, counts = found.means(rows)
    minka = found.texts.index("Minka")
    assert counts[minka] == 2
    np.testing.assert_allclose(means[minka], 20)
    means, counts = OwnWords((), ((),) * 6).means(rows)
    assert (means.shape, counts.shape) == ((0, 4), (0,))


def test_a_recipe_with_a_column_that_is_not_there_is_refused(rows: Rows, tmp_path: Path) -> None:
    source = {"kind": "images", "path": str(tmp_path / "list.csv"), "key": "key", "words": ["titel"]}
    table = {"name": "mine", "source": source, "layers": [{"net": {"kind": "dense", "width": 4}}]}
    with pytest.raises(RecipeError, match=r"source\.words: columns are joined to what answers words"):
        resolve(recipe.parse(table, tmp_path / "mine.toml"))
    table |= {"features": {"backbone": "efficientnet-lite0", "words": "imagenet"}}
    with pytest.raises(RecipeError, match=r"no column 'titel'; its columns, without the label: key, title, tags"):
        resolve(recipe.parse(table, tmp_path / "mine.toml"))


def test_a_column_that_is_not_there_is_named(rows: Rows) -> None:
    with pytest.raises(SourceError, match=r"source\.words: no column 'titel'; columns of this collection: "):
        own_words(rows, ("titel",))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("car_side", "car side"),
        ("IMG-2021.05", "IMG 2021 05"),
        ("snowyOwl", "snowy Owl"),
        ("2021", ""),
        ("貓 咪", "貓 咪"),
    ],
)
def test_words_are_as_people_say_them(given: str, wanted: str) -> None:
    assert tidy(given) == wanted


def test_a_question_carries_whole_words() -> None:
    assert carries("my cat Minka!", "minka")
    assert carries("MINKA asleep", "Minka")
    assert not carries("minkas", "minka")
    assert not carries("scat", "cat")
    assert carries("我的小花在睡觉", "小花")


@pytest.mark.parametrize("written", ["title", ["title"], ("title",)])
def test_one_column_need_not_be_a_list(written: object) -> None:
    from aepipe import recipe
    from aepipe.sources.images.source import Options

    table = {"path": "pictures", "words": written, "exclude": "drafts/"}
    found = recipe.options(Options, table, "source")
    assert (found.words, found.exclude) == (("title",), ("drafts/",))
