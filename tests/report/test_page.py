"""A release as one page, its pictures, and answers in a notebook."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aepipe.errors import CorruptError
from aepipe.release.release import Release
from aepipe.report import page as pages
from aepipe.report.charts import Chart, curves_picture
from aepipe.report.facts import describe
from aepipe.report.page import data_uri, examples_picture, page, shown, tiles_page, training_curves
from aepipe.report.tiles import Found, Tile
from aepipe.store.artifacts import Ref, Store
from tests.support.releases import make_release, pictures_of


class Seen(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.sources: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)
        self.sources += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())


@pytest.fixture
def found(store: Store) -> dict[str, Any]:
    """What is known of a release."""
    return describe(store, make_release(store, n=40))


def test_a_page_is_whole_and_needs_nothing_beside_it(found: dict[str, Any]) -> None:
    text = page(found, {"Hits": data_uri(Image.new("RGB", (3, 2)))})
    seen = Seen(text)
    assert not seen.open
    assert seen.sources == [source for source in seen.sources if source.startswith("data:image/jpeg;base64,")] != []
    assert f"{found['name']}: release {found['release'][:12]}" in seen.words
    assert {"ours", "itq", "recall_at_10", "Hits"} <= set(seen.words)
    assert "Training" not in seen.words
    assert not re.search(r"https?://", text)


def chart(store: Store, release: Release) -> Chart:
    """The losses of no training in particular."""
    return curves_picture({"layer 1": {"train": [2.0, 1.0]}})


def test_what_cannot_be_drawn_is_left_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    release = Release.open(store, ref=make_release(store, n=8))
    monkeypatch.setattr(pages, "training_picture", chart)
    assert list(shown(store, release)) == ["Hits", "Training"]
    monkeypatch.setattr(pages, "examples_picture", lambda release: None)
    assert list(shown(store, release)) == ["Training"]


def test_hits_are_jpeg_and_charts_are_lines(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    release = Release.open(store, ref=make_release(store, n=8))
    monkeypatch.setattr(pages, "training_picture", chart)
    pictures = shown(store, release)
    assert pictures["Hits"].startswith("data:image/jpeg;base64,")
    head, _, body = pictures["Training"].partition(",")
    assert head == "data:image/svg+xml;base64"
    assert base64.b64decode(body).decode() == chart(store, release).svg()
    seen = Seen(page(describe(store, release.ref), pictures))
    assert seen.sources == list(pictures.values()), "no letter of them is escaped"
    assert "Training" in seen.words


def test_a_chart_is_drawn_once_for_a_model(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release, drawn, kept = Release.open(store, ref=make_release(store, n=8)), list[str](), tmp_path / "new" / "x.svg"

    def counted(store: Store, release: Release) -> Chart:
        drawn.append(release.name)
        return chart(store, release)

    monkeypatch.setattr(pages, "training_picture", counted)
    first = shown(store, release, kept)
    assert first == shown(store, release, kept) == shown(store, release)
    assert len(drawn) == 2, "the last is not kept"
    kept.write_text(kept.read_text(encoding="utf-8").replace(str(release.part("encoder")), "model/0"), encoding="utf-8")
    assert shown(store, release, kept) == first
    kept.write_bytes(b"\xff")
    assert shown(store, release, kept) == first
    assert len(drawn) == 4, "that of another model, and what is no text, are drawn again"
    assert shown(store, release, kept / "x.svg") == first, "it cannot be kept there"


def test_what_the_gate_said_now_goes_before_what_it_said_then(found: dict[str, Any]) -> None:
    found["promoted"] = {"when": "then", "why": "it is new; it is good"}
    assert {"it is new", "it is good"} <= set(Seen(page(found, {})).words)
    words = Seen(page(found, {}, ["it is worse"])).words
    assert "it is worse" in words
    assert "it is new" not in words


def test_names_are_shown_and_not_obeyed(found: dict[str, Any]) -> None:
    odd = '<script>alert(1)</script> & "quoted"'
    text = page(
        found | {"name": odd, "source": {"kind": "images", "path": odd}}, {odd: data_uri(Image.new("L", (1, 1)))}
    )
    assert "<script" not in text
    assert any(odd in word for word in Seen(text).words)


def test_a_name_that_a_template_lacks_is_an_error(found: dict[str, Any]) -> None:
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError, match="title"):
        pages._render("release.html")
    for template in pages.TEMPLATES.iterdir():
        assert "|safe" not in template.read_text(encoding="utf-8").replace(" ", ""), "nothing goes around the escaping"


def test_an_answer_is_figures_within_one_block() -> None:
    grey = Image.new("L", (300, 200), 90)
    hits = [Tile("near.png", grey, "bag", 1), Tile("far.txt", None, "", 12, text="a < b & c")]
    seen = Seen(tiles_page(Found(Tile("asked.png", grey), hits)))
    assert not seen.open
    assert {"asked", "1 bit", "12 bits", "bag", "a < b & c", "→"} <= set(seen.words)
    assert len(seen.sources) == 2
    (picture,) = {Image.open(BytesIO(base64.b64decode(source.partition(",")[2]))).size for source in seen.sources}
    assert picture == (96, 64)
    assert "nothing found" in Seen(tiles_page(Found(Tile("asked.png"), []))).words


def test_a_notebook_needs_no_chart(store: Store) -> None:
    """The core alone shows answers; only a template engine is imported for it."""
    make_release(store, n=8)
    script = (
        f"import sys, aepipe; found = aepipe.open({str(store.root)!r}).query(ids=[3], k=3)\n"
        "assert 'jinja2' not in sys.modules\n"
        "assert found._repr_html_().count('<figure') == 4\n"
        "print(sorted({'matplotlib', 'torch', 'pyarrow', 'pydantic', 'rich', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_rows_and_what_they_find(store: Store) -> None:
    release = Release.open(store, ref=make_release(store, n=40))
    few, many = (examples_picture(release, queries=queries, k=3) for queries in (2, 5))
    assert few is not None
    assert many is not None
    assert many.height > few.height
    shutil.rmtree(pictures_of(store))
    assert examples_picture(release) is None


def test_losses_by_part(store: Store, tmp_path: Path) -> None:
    def model(text: str) -> Ref:
        with store.draft("model") as draft:
            (draft.path / "curves.json").write_text(text)
            return draft.finish({"text": text})

    stored = {
        "layer 1": [{"loss": 3.0, "held_out": 4.0}, {"loss": 2.0, "held_out": 3.5}],
        "fine-tuning": [{"loss": 1.0}],
    }
    found = training_curves(store, model(json.dumps(stored)))
    assert found == {
        "layer 1": {"train": [3.0, 2.0], "valid": [4.0, 3.5]},
        "fine-tuning": {"train": [1.0], "valid": []},
    }
    for text in ("{", "[1]", '{"a": 1}'):
        with pytest.raises(CorruptError, match=r"curves\.json"):
            training_curves(store, model(text))


def test_a_picture_as_a_url() -> None:
    head, _, body = data_uri(Image.new("RGB", (30, 20), "red")).partition(",")
    assert head == "data:image/jpeg;base64"
    assert Image.open(BytesIO(base64.b64decode(body))).size == (30, 20)
