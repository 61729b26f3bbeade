"""A release as one page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from PIL import Image

from aepipe.release.release import Release
from aepipe.report import examples
from aepipe.report.examples import data_uri
from aepipe.report.page import page
from aepipe.report.releases import describe
from aepipe.store.artifacts import Store
from tests.support.releases import make_release


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
        if tag not in {"meta", "img"}:
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


def test_what_cannot_be_drawn_is_left_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    release = Release.open(store, ref=make_release(store, n=8))
    monkeypatch.setattr(examples, "training_picture", lambda store, release: Image.new("L", (2, 2)))
    assert list(examples.shown(store, release)) == ["Hits", "Training"]
    monkeypatch.setattr(examples, "examples_picture", lambda release: None)
    assert list(examples.shown(store, release)) == ["Training"]


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
