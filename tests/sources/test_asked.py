"""What an argument of a query names: files, folders, parts of documents, or nothing of the sort."""

from __future__ import annotations

import unicodedata
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aepipe import sources
from aepipe.errors import ItemError, QueryError, shortened
from aepipe.sources.asked import are_words, file_named, path_named
from aepipe.sources.text import passages
from aepipe.sources.text.passages import Cut, Document
from tests.support.documents import pdf

KINDS = ["audio", "images", "table", "text", "vectors", "video"]
LONG = ["alpha beta gamma delta " * 12, "x" * 256, "x" * 5000, "a/" * 3000, "字" * 2000, "a\nb\n" * 100]
ODD = ["", "\0", "a\0b", "~", "-1", ".", "..", "/", "x" * 255 + "/y", "\udcff"]


def failure(kind: str, text: str) -> str:
    """Return what is said about an argument; empty where it is answered."""
    try:
        for item in sources.query_items(kind, text):
            item.read()
    except (ItemError, QueryError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [*LONG, *ODD])
def test_whatever_is_typed_is_answered_or_refused_in_a_line(
    kind: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = failure(kind, text if text not in {"/", ".."} else str(tmp_path))
    assert len(said) < 500
    assert "\n" not in said


@pytest.mark.parametrize("length", [200, 255, 256, 257, 1000, 4095, 4096, 4097, 5000])
def test_a_question_of_words_has_any_length(length: int) -> None:
    words = ("Grüße aus München und anderswo " * 400)[:length]
    (item,) = sources.query_items("text", words)
    assert item.read().decode() == words


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=600))
def test_no_text_is_an_error_of_the_system(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for kind in ("images", "text", "vectors"):
        failure(kind, f"w {text}")


@pytest.mark.parametrize("kind", ["audio", "images", "video"])
def test_words_for_a_collection_of_files_are_told_what_it_answers(kind: str) -> None:
    assert "this collection is asked with" in failure(kind, "dog")
    assert not any("words" in failure(kind, text) for text in ("a black dog", "missing.jpg", "my trip.jpg"))
    assert failure(kind, "  ").startswith('"  ": no words, and no name of a file; this collection is asked with')
    assert failure(kind, "missing.jpg").startswith("missing.jpg: no such file or folder")


def test_names_are_found_in_either_form_of_unicode(tmp_path: Path) -> None:
    (tmp_path / unicodedata.normalize("NFD", "Übung.txt")).write_text("Ein Text.")
    assert path_named(str(tmp_path / "Übung.txt")) is not None
    assert file_named(str(tmp_path)) is None
    assert [item.read() for item in sources.query_items("text", str(tmp_path / "Übung.txt"))] == [b"Ein Text."]


def test_long_names_are_shortened_in_the_middle() -> None:
    assert shortened("a" * 200) == "a" * 200
    assert shortened("a" * 150 + "b" * 150) == "a" * 130 + " ... " + "b" * 60


@pytest.fixture
def report(tmp_path: Path) -> str:
    pages = [" ".join(f"word{page}x{n}" for n in range(50)) for page in (1, 2, 3)]
    (tmp_path / "report.pdf").write_bytes(pdf(pages))
    return str(tmp_path / "report.pdf")


@pytest.mark.parametrize(("features", "part"), [({}, "p2"), ({}, "2"), ({"passage": 1000}, "p2")])
def test_a_page_of_a_document_is_asked_with(features: dict[str, Any], part: str, report: str) -> None:
    (item,) = sources.query_items("text", f"{report}@{part}", features)
    text = item.read().decode()
    assert text.startswith("word2x0 ")
    assert not {"word1x", "word3x"} & {word[:6] for word in text.split()}


def test_a_passage_of_a_document_is_the_one_of_the_collection(report: str, tmp_path: Path) -> None:
    features = {"passage": 20, "overlap": 5}
    (item,) = sources.query_items("text", f"{report}@p2.2", features)
    document = Document(sources.readable("text", Path(report).read_bytes(), "r"))
    assert item.read().decode().split()[0].startswith("word2")
    assert len(item.read().split()) == 20
    (tmp_path / "novel.txt").write_text(document.text)
    (item,) = sources.query_items("text", f"{tmp_path / 'novel.txt'}@3", features)
    names = {name: text for name, _, text in Cut(20, 5).passages(document)}
    assert item.read().decode() == names["3"]


@pytest.mark.parametrize(
    ("part", "features", "said"),
    [("p9", {}, "no part p9; there are: pages p1 to p3"), ("p9.4", {"passage": 20}, "no part p9.4")],
)
def test_a_part_that_is_not_there_is_named(part: str, features: dict[str, Any], said: str, report: str) -> None:
    (item,) = sources.query_items("text", f"{report}@{part}", features)
    with pytest.raises(ItemError, match=said):
        item.read()


def test_a_file_with_the_name_of_a_part_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("whole")
    (tmp_path / "a.txt@1").write_text("other")
    (item,) = sources.query_items("text", str(tmp_path / "a.txt@1"), {"passage": 20})
    assert item.read() == b"other"
    with pytest.raises(QueryError, match="no such file"):
        list(sources.query_items("text", str(tmp_path / "b.txt@1")))


def test_parts_of_a_text_without_pages() -> None:
    document = Document(" ".join(f"w{n}" for n in range(100)))
    parts = [passages.part(document, str(n), Cut(30, 0)) for n in (1, 2, 3)]
    assert list(chain.from_iterable(part.split() for part in parts)) == document.text.split()
    with pytest.raises(ValueError, match="there are: passages 1 to 3"):
        passages.part(document, "p1", Cut(30, 0))
    with pytest.raises(ValueError, match="no part 2; there are: none"):
        passages.part(document, "2", None)
    assert passages.part(Document("short"), "1", Cut(30, 0)) == "short"


@pytest.mark.parametrize(
    "text", ["dog", "a dog on grass", "dog vs. cat", "狗在草地上", "no. 5", "Ein Hund, der lacht!"]
)
def test_what_names_nothing_is_words(text: str) -> None:
    assert are_words(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "x.jpg", "my trip.JPG", "a/b", "clip.mp4@12.5", "my clip.mp4@1-2", "scan.tif@2", "s3://a b/c", "-"],
)
def test_what_looks_like_a_file_is_none(text: str) -> None:
    assert not are_words(text)


def test_a_file_is_a_file_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dog").touch()
    assert not are_words("dog")
    assert not are_words("dog@1-2")
