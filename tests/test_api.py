"""Collections as Python sees them: what can be asked, and what comes back."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import aepipe
from aepipe.api import Collection, Results
from aepipe.errors import CodeError, ExtraError, ItemError, NotFoundError, QueryError
from aepipe.release.things import Thing
from aepipe.sources.packages import extras_named
from aepipe.store.artifacts import Store
from tests.support.releases import make_release, pictures_of


@pytest.fixture(scope="module")
def full_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("python") / "store")
    make_release(store, n=100)
    return store


@pytest.fixture
def collection(full_store: Store) -> Collection:
    return aepipe.open(full_store.root)


@pytest.mark.parametrize(
    "error", [ItemError("a.png", "cut off"), ExtraError("torch", "train"), QueryError("no such id")]
)
def test_errors_cross_processes(error: Exception) -> None:
    copied = copy.copy(error)
    assert (type(copied), str(copied), vars(copied)) == (type(error), str(error), vars(error))


def test_what_is_open(collection: Collection, full_store: Store) -> None:
    assert (collection.name, len(collection), collection.n_bits) == ("pictures", 100, 64)
    assert collection.fingerprint == collection.release.fingerprint
    assert collection.scores["protocol"]["n_bits"] == 64
    assert repr(collection).startswith("<aepipe collection pictures: 100 rows, 64 bits, ")
    assert aepipe.open(str(full_store.root), "pictures").name == "pictures"
    with pytest.raises(NotFoundError, match="nobody"):
        aepipe.open(full_store.root, "nobody")


def test_a_thing_may_be_given_in_every_form(collection: Collection, full_store: Store) -> None:
    row = collection.release.describe([7])[0]
    file = pictures_of(full_store) / row.key
    picture = Image.open(file)
    code = collection.release.codes_of([7])
    given: list[Thing] = [
        file,
        str(file),
        file.read_bytes(),
        picture,
        np.asarray(picture),
        np.asarray(picture)[..., None],
    ]
    coded = [collection.query(codes=code, k=5), collection.query(codes=code.hex(), k=5)]
    forms = [*(collection.query(thing, k=5) for thing in given), collection.query(ids=[7], k=5)]
    forms.append(collection.query(keys=[row.key], k=5))
    plain = collection.query(file, k=5, fast=True)
    for same in (forms, [plain, *coded]):
        first = [(hit.row.id, hit.distance) for hit in same[0].hits]
        assert first[0][1] == 0
        assert all([(hit.row.id, hit.distance) for hit in one.hits] == first for one in same)
    encoded = collection.encode(file, picture)
    assert encoded.hex() == code.hex() * 2
    assert encoded.fingerprint == collection.fingerprint


def test_several_questions_in_one_and_the_table_of_them(collection: Collection) -> None:
    found = collection.query(ids=[3, 4], k=4, others=True)
    assert isinstance(found, Results)
    assert (len(found), len(found.hits), [one.question.text for one in found]) == (2, 8, ["id 3", "id 4"])
    table = found.to_pandas()
    assert table.columns.tolist()[:6] == ["query", "rank", "id", "key", "label", "distance"]
    assert table["id"].tolist() == [hit.row.id for hit in found.hits]
    assert 3 not in table[table["query"] == "id 3"]["id"].tolist()
    assert repr(found).splitlines()[0] == "id 3: 4 hits"
    empty = collection.query(ids=[3], where="id < 0")
    assert (len(empty.hits), len(empty.to_pandas())) == (0, 0)
    assert empty.to_pandas().columns.tolist() == table.columns.tolist()


def test_the_options_are_those_of_the_verb(collection: Collection) -> None:
    assert len(collection.query(ids=[3]).hits) == 10
    ball = collection.query(ids=[3], radius=20).hits
    assert all(hit.distance <= 20 for hit in ball)
    assert len(ball) > 1
    assert {hit.row.label for hit in collection.query(ids=[3], where="label = 'class1'", k=5).hits} == {"class1"}
    assert collection.query(ids=[3], bits=16, k=3).hits[0].distance == 0
    for ordered in (collection.query(ids=[3]), collection.query(ids=[3], rerank=True)):
        assert all(hit.cosine is not None for hit in ordered.hits)
    for plain in (collection.query(ids=[3], fast=True), collection.query(ids=[3], rerank=False)):
        assert all(hit.cosine is None for hit in plain.hits)


def test_a_notebook_shows_pictures_and_nothing_is_taken_for_markup(collection: Collection) -> None:
    page = collection.query(ids=[3], k=3)._repr_html_()
    assert page.count("<figure") == 4
    assert page.count('src="data:image/png;base64,') == 4
    from aepipe.report.page import tiles_page
    from aepipe.report.tiles import Found, Tile

    odd = Tile("<script>x</script>", label='"><b>', text="a < b")
    shown = tiles_page(Found(odd, [odd]))
    assert "<script" not in shown
    assert "<b>" not in shown
    assert "a &lt; b" in shown


def test_mistakes_have_our_names(collection: Collection, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(ItemError, match="not an image"):
        collection.query(tmp_path / "x.png")
    with pytest.raises(ItemError, match="no such file or folder"):
        collection.query("nowhere.png")
    with pytest.raises(QueryError, match="nothing is asked"):
        collection.query()
    with pytest.raises(QueryError, match="nothing is given"):
        collection.encode()
    with pytest.raises(QueryError, match="no such option of query: farther; these are: k, radius, where"):
        collection.query(ids=[3], farther=True)  # type: ignore[call-arg]
    with pytest.raises(QueryError, match="k: a whole number from 1 on"):
        collection.query(ids=[3], k=0)
    with pytest.raises(QueryError, match="no row has the id 999"):
        collection.query(ids=[999])
    with pytest.raises(CodeError, match="not hex"):
        collection.query(codes=["zz"])
    with pytest.raises(QueryError, match="int: ask with a path"):
        collection.query(17)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": "3"}, "k: a whole number from 1 on is wanted, not '3'"),
        ({"k": True}, "k: a whole number from 1 on is wanted, not True"),
        ({"k": 2.5}, "k: a whole number from 1 on is wanted, not 2.5"),
        ({"bits": "3"}, "its codes have 64 bits, not '3'"),
        ({"radius": -1}, "radius: a whole number from 0 on is wanted, not -1"),
        ({"radius": "wide"}, "radius: a whole number from 0 on"),
        ({"oversample": 0}, "oversample: a whole number from 1 on is wanted, not 0"),
        ({"min_confidence": "0.9"}, "min_confidence: a number from 0 to 1 is wanted, not '0.9'"),
        ({"min_confidence": 2}, "min_confidence: a number from 0 to 1 is wanted, not 2"),
        ({"where": 5}, "where: a condition in SQL or a list of ids is wanted, not 5"),
        ({"where": ["boot"]}, "where: a condition in SQL or a list of ids is wanted"),
    ],
)
def test_options_of_another_type_are_mistakes_with_our_names(
    collection: Collection, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(QueryError, match=re.escape(said)):
        collection.query(ids=[3], **options)


def test_ids_and_numbers_of_numpy_are_fine(collection: Collection) -> None:
    found = collection.query(ids=[3], k=np.int64(2), where=[3, 4])  # type: ignore[arg-type]
    assert [hit.row.id for hit in found.hits] == [3, 4]


def test_pictures_are_not_asked_with_a_row_of_a_table(collection: Collection) -> None:
    with pytest.raises(QueryError, match="pictures was learned from images, so a row of a table is no question for it"):
        collection.query({"a": 1})


@pytest.mark.parametrize(
    ("package", "extra", "call"),
    [
        ("pandas", "train", lambda one, folder: one.query(ids=[3]).to_pandas()),
        ("duckdb", "sql", lambda one, folder: one.query(ids=[3], where="id > 1")),
        ("duckdb", "sql", lambda one, folder: one.ids_where("id > 1")),
        ("pyarrow", "train", lambda one, folder: one.add(folder)),
        ("pyarrow", "train", lambda one, folder: one.remove(ids=[3])),
        ("pyarrow", "train", lambda one, folder: one.compact()),
        ("pyarrow", "train", lambda one, folder: one.export(folder / "out")),
        ("pyarrow", "train", lambda one, folder: one.dedup(out=folder / "out.parquet")),
    ],
)
def test_methods_name_the_extra_that_they_need(
    full_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    extra: str,
    call: Callable[[Collection, Path], object],
) -> None:
    for name in [name for name in sys.modules if name.startswith(("aepipe.pipeline", "flows", package))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    if hasattr(aepipe, "pipeline"):  # what is imported again takes the place of this
        monkeypatch.setattr(aepipe, "pipeline", aepipe.pipeline)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExtraError, match=rf"{package} is not installed: pip install 'aepipe\[{extra}\]'"):
        call(aepipe.open(full_store.root), tmp_path)


def test_a_package_that_no_extra_brings_is_a_bug() -> None:
    with pytest.raises(ModuleNotFoundError, match="nothing"), extras_named():
        raise ModuleNotFoundError("No module named 'nothing'", name="nothing")


def test_importing_aepipe_imports_nothing_else_and_a_query_no_torch(full_store: Store) -> None:
    heavy = "{'numpy', 'faiss', 'torch', 'prefect', 'pandas', 'pyarrow', 'onnxruntime'}"
    code = (
        f"import sys, aepipe; print(sorted({heavy} & set(sys.modules)))\n"
        f"found = aepipe.open({str(full_store.root)!r}).query(ids=[3]); print(len(found.hits))\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["[]", "10", "['faiss', 'numpy']"]
