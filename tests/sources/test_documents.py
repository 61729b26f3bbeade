"""Documents of many formats and encodings, what they may cost, and passages of long ones."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tomllib
import zipfile
from itertools import pairwise
from pathlib import Path
from queue import LifoQueue
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepipe import sources
from aepipe.errors import ExtraError, ItemError, RecipeError, SourceError
from aepipe.pipeline.suggest import suggest
from aepipe.sources.loader import Outcome, read_all
from aepipe.sources.text import decode, documents, workers
from aepipe.sources.text.decode import excerpt
from aepipe.sources.text.passages import Cut
from aepipe.sources.text.recognise import format_of
from aepipe.sources.text.source import Features, Options, Text
from tests.support.documents import MAKERS, docx, eml, html, odt, packed, pdf, xlsx

TEXTS = ("The harbour pilot boards every freighter before dawn.", "Bakers knead the dough & let it rest.")
LOOSE: dict[str, Any] = {"words": 100, "least": 1, "most": 1.0}
AROUND = ("stylesheetword", "scriptword", "navigationword", "headerword", "footerword", "generatorword")
SENTENCES = [f"Sentence number {n} of this book is about {w}." for n in range(60) for w in ("ships", "bread")]


def text(folder: Path, path: str = ".", features: dict[str, Any] | None = None, **options: Any) -> Text:
    return Text(Options(path=path, **options), Features(**{**LOOSE, **(features or {})}), base=folder, name="t")


def read(source: Text) -> list[Outcome]:
    return list(read_all(source.fitted(None)))


def reason_of(data: bytes, name: str = "x") -> str:
    with pytest.raises(ItemError) as caught:
        decode.text_of(data, name)
    return caught.value.reason


@pytest.mark.parametrize("ending", MAKERS)
def test_the_text_of_every_format_is_read_whatever_its_name(ending: str) -> None:
    data = MAKERS[ending](TEXTS)
    found = decode.text_of(data, "no-name")
    at = [found.find(sentence.split("&")[0].strip()) for sentence in TEXTS]
    assert -1 < at[0] < at[1]
    assert not [word for word in AROUND if word in found]
    assert format_of(data[: 1 << 13], "") == format_of(data, "")


def test_references_to_letters_are_letters() -> None:
    data = docx(["R&D"])
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        parts = {entry.filename: old.read(entry) for entry in old.infolist()}
    parts["word/document.xml"] = parts["word/document.xml"].replace(b"R&amp;D", b"R&amp;D gr&#246;&#xDF;er &lt;b&gt;")
    assert decode.words_of(decode.text_of(packed(parts), "x"), mail=False) == ["größer"]
    assert decode.spelled(decode.text_of(packed(parts), "x"), mail=False) == "r&d größer <b>"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (pdf(TEXTS, encrypted=True), workers.ENCRYPTED),
        (odt(TEXTS, encrypted=True), workers.ENCRYPTED),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), workers.ENCRYPTED),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"WordDocument", documents.OLD),
        (pdf(["", ""]), documents.NO_TEXT),
        (pdf(TEXTS)[:300], "damaged: not a PDF file that can be read"),
        (docx(TEXTS)[:-50], "damaged: file is not a zip file"),
        (packed({"[Content_Types].xml": "x", "word/document.xml": "<<<"}), "damaged: not a DOCX file that can be read"),
        (packed({"[Content_Types].xml": "x", "word/document.xml": bytes(100 << 20)}), documents.BOMB),
        (docx([]), "empty document"),
        (packed({"a.txt": "a"}), "not text: it has zero bytes"),
    ],
    ids=lambda one: one if isinstance(one, str) else f"{len(one)} bytes",  # an archive has the time in it
)
def test_what_cannot_be_read_says_why(data: bytes, reason: str) -> None:
    assert reason_of(data) == reason


def test_a_document_that_hangs_or_crashes_its_reader_is_one_bad_item(monkeypatch: pytest.MonkeyPatch) -> None:
    good, command = pdf(TEXTS), workers.COMMAND
    monkeypatch.setattr(workers, "_idle", LifoQueue())
    monkeypatch.setattr(workers, "_stopped", {})
    monkeypatch.setattr(workers, "SECONDS", 0.3)
    monkeypatch.setattr(workers, "COMMAND", (sys.executable, "-c", "import time; time.sleep(60)"))
    assert reason_of(good) == "took more than 0.3 seconds to read: the file may be damaged"
    monkeypatch.setattr(workers, "COMMAND", command)
    assert reason_of(good).startswith("took more than 0.3 seconds"), "it is not tried twice"
    workers._stopped.clear()
    monkeypatch.setattr(workers, "SECONDS", 30.0)
    monkeypatch.setattr(workers, "COMMAND", (sys.executable, "-c", "import os; os.abort()"))
    assert reason_of(good) == "the reader of PDF files crashed: the file may be damaged"
    workers._stopped.clear()
    monkeypatch.setattr(workers, "COMMAND", command)
    assert "harbour" in decode.text_of(good, "x")
    worker = workers._idle.get_nowait()
    worker.process.kill()
    worker.process.wait()
    workers._idle.put(worker)
    assert reason_of(good).startswith("the reader of PDF files crashed")
    workers._stopped.clear()
    assert "harbour" in decode.text_of(good, "x")
    monkeypatch.setattr(workers, "MOST_TEXT", 10)
    assert reason_of(good) == "more than 0 million letters"


def test_a_trouble_without_words_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of memory have none."""
    says = 'import sys; sys.stdin.readline(); print(\'{"trouble": ""}\', flush=True)'
    monkeypatch.setattr(workers, "_idle", LifoQueue())
    monkeypatch.setattr(workers, "COMMAND", (sys.executable, "-c", says))
    assert reason_of(pdf(TEXTS)) == "damaged: not a PDF file that can be read"


def test_without_the_library_the_recipe_says_which_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("plain words", encoding="utf-8")
    (tmp_path / "b.pdf").write_bytes(pdf(TEXTS))
    monkeypatch.setattr("aepipe.sources.text.source.find_spec", lambda name: None)
    monkeypatch.setattr(workers, "find_spec", lambda name: None)
    with pytest.raises(ExtraError, match=r"aepipe\[documents\]"):
        text(tmp_path)
    with pytest.raises(ExtraError, match=r"aepipe\[documents\]"):
        decode.text_of(pdf(TEXTS), "x")
    assert decode.text_of(b"plain words", "x") == "plain words"


def test_a_folder_of_all_formats_is_read_and_counted(tmp_path: Path) -> None:
    for ending, make in MAKERS.items():
        (tmp_path / f"a.{ending}").write_bytes(make(TEXTS))
    (tmp_path / "locked.pdf").write_bytes(pdf(TEXTS, encrypted=True))
    (tmp_path / "scan.pdf").write_bytes(pdf([""]))
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    source = text(tmp_path)
    found = {one.item.key: one for one in read(source)}
    assert {key: one.reason for key, one in found.items() if one.reason} == {
        "locked.pdf": workers.ENCRYPTED,
        "scan.pdf": documents.NO_TEXT,
    }
    assert len(found) + source.passed_over.total == len(MAKERS) + 3
    assert all("harbour pilot" in str(one.item.columns["snippet"]) for one in found.values() if not one.reason)
    assert list(source.notes) == ["1 x an attachment of a mail, not read (a.eml: a.bin)"]
    # The same text in another format is the same row.
    rows = [found[f"a.{ending}"].features for ending in ("pdf", "docx", "odt", "html", "rtf", "txt")]
    for row in rows:
        np.testing.assert_array_equal(row, rows[0])
    assert suggest(str(tmp_path), folder=tmp_path.parent)[2].kind == "text"


def test_attachments_of_mails_are_counted_and_named(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.eml").write_bytes(eml([f"{one} {number}" for one in TEXTS]))
    (tmp_path / "odd.eml").write_bytes(b"Content-Type: multipart/mixed; boundary=\nSubject: x\n\nHarbour pilots")
    source = text(tmp_path)
    read(source)
    assert "3 x an attachment of a mail, not read (0.eml: a.bin, 1.eml: a.bin, 2.eml: a.bin)" in source.notes


def test_a_query_asks_with_the_text_of_a_document(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf(TEXTS))
    (tmp_path / "b.txt").write_bytes("Die Straße wird schön, größer und müde".encode("cp1252"))
    (item,) = sources.query_items("text", str(tmp_path / "a.pdf"))
    assert item.read().decode().split() == " ".join(TEXTS).split()
    assert [one.read().decode() for one in sources.query_items("text", str(tmp_path))][1].startswith("Die Straße")
    features = text(tmp_path).fitted(None).features()
    row = sources.decoder("text", features)
    np.testing.assert_array_equal(row(pdf(TEXTS), "bytes"), row(item.read(), "a.pdf"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "cp1252", "utf-16-be"])
def test_texts_in_any_encoding_give_the_same_row(tmp_path: Path, encoding: str) -> None:
    plain = "Die Straße wird schön, größer und müde."
    (tmp_path / "a.txt").write_text(plain, encoding="utf-8")
    (tmp_path / "b.txt").write_bytes(plain.encode(encoding))
    source = text(tmp_path).fitted(None)
    first, second = read_all(source)
    assert first.reason is second.reason is None
    np.testing.assert_array_equal(first.features, second.features)
    assert second.item.columns["snippet"] == plain
    said = ["1 file read as windows-1252; if that is wrong, say encoding = ... under [source]"]
    assert list(source.notes) == (said if encoding == "cp1252" else [])
    _, _, held = suggest(str(tmp_path), folder=tmp_path.parent)
    assert (held.kind, held.strangers) == ("text", [])


def test_an_encoding_that_the_recipe_names_is_no_guess(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Příliš žluťoučký kůň".encode("cp1250"))
    (tmp_path / "b.txt").write_bytes("žlutý kůň".encode("cp1250"))
    found = read(source := text(tmp_path, encoding="windows-1250"))
    assert [one.item.columns["snippet"] for one in found] == ["Příliš žluťoučký kůň", "žlutý kůň"]
    assert "kůň" in source.fitted(None).features()["vocabulary"]
    assert list(source.notes) == []
    (tmp_path / "c.csv").write_bytes("text,n\nžlutý kůň,1\n".encode("cp1250"))
    (row,) = read(text(tmp_path, "c.csv", encoding="windows-1250"))
    assert row.item.columns["snippet"] == "žlutý kůň"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (html(["Größe"]).decode().replace("<head>", '<head><meta charset="iso-8859-1">').encode("latin-1"), "Größe"),
        (html(["Größe"]).decode().replace("<head>", '<head><meta charset="iso-8859-1">').encode(), "Größe"),
        (html(["Größe schläft müde"]).decode().encode("cp1252"), "Größe schläft müde"),
        (html(["Größe"]).decode().encode("utf-16"), "Größe"),
        (
            html(["日本語の文"]).decode().replace("<head>", '<head><meta charset="shift_jis">').encode("cp932"),
            "日本語の文",
        ),
    ],
)
def test_a_page_is_read_in_the_encoding_that_it_is_in(page: bytes, expected: str) -> None:
    assert decode.text_of(page, "x").strip() == expected


def test_plain_mails_and_markup_in_words_are_texts(tmp_path: Path) -> None:
    post = b"From: a@b.c\nSubject: x\nMIME-Version: 1.0\nContent-Type: text/plain\n\nBody <b>of</b> it"
    assert format_of(post, "4711") is None
    assert format_of(eml(TEXTS), "4711") == "EML"
    assert format_of(b"The tag <html> begins a page", "a.txt") is None


def test_a_passage_has_its_words_and_its_overlap() -> None:
    words = [f"w{n}" for n in range(100)]
    spans = Cut(30, 5).spans(" ".join(words))
    cut = [" ".join(words)[start:end].split() for start, end in spans]
    assert cut == [words[0:30], words[25:55], words[50:80], words[75:100]]
    assert Cut(30, 5).spans(" ".join(words[:44])) == [(0, len(" ".join(words[:44])))]
    # A letter is a word where words have no spaces.
    assert len(Cut(10, 0).spans("我们的球队在城里的体育场赢得了比赛。" * 2)) == 3


@given(st.text("ab 我、\n", max_size=200), st.integers(1, 20), st.integers(0, 19))
def test_passages_lose_nothing(sample: str, words: int, overlap: int) -> None:
    spans = Cut(words, min(overlap, words - 1)).spans(sample)
    assert spans[0][0] == 0
    assert spans[-1][1] == len(sample)
    assert all(first[0] < second[0] <= first[1] < second[1] for first, second in pairwise(spans))


def test_passages_name_file_and_page_and_can_be_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "a.pdf").write_bytes(pdf([" ".join(SENTENCES[:20]), " ".join(SENTENCES[20:60]), "The end of it."]))
    (folder / "b.txt").write_text(" ".join(SENTENCES), encoding="utf-8")
    (folder / "c.txt").write_text(SENTENCES[0], encoding="utf-8")
    rows = [{"text": " ".join(SENTENCES[:40]), "label": "x"}, {"text": SENTENCES[3], "label": "y"}]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    features = {"passage": 120, "overlap": 10}
    source = text(tmp_path, "d", features)
    found = read(source)
    keys = [one.item.key for one in found]
    names = ("p1", "p1.2", "p2", "p2.2", "p2.3")
    assert keys == [*(f"a.pdf@{name}" for name in names), *(f"b.txt@{n}" for n in range(1, 11)), "c.txt"]
    assert all(one.reason is None for one in found)
    assert found[1].item.place == "a.pdf#p2+120-10"
    assert found[-1].item.place == "c.txt"
    fitted = source.fitted(None)
    for one in found:
        again = sources.preview(source.location, one.item.place)
        np.testing.assert_array_equal(fitted.row(again, "x"), one.features)
        assert " ".join(again.decode().split()) == one.item.columns["snippet"]
    assert "passage" not in fitted.features()
    table = read(source := text(tmp_path, "r.jsonl", features, label="label"))
    assert [one.item.key for one in table] == [f"r.jsonl#0@{n}" for n in (1, 2, 3)] + ["r.jsonl#1"]
    assert [one.item.label for one in table] == ["x"] * 3 + ["y"]
    assert sources.preview(source.location, table[1].item.place).decode() in rows[0]["text"]


def test_the_sentence_that_fits_a_question_is_shown() -> None:
    passage = "The ship is late. Bakers knead the dough twice! We saw the tide; it was low. 我们喜欢猫。他在城里。"
    assert excerpt(passage, "who kneads dough? Bakers") == "Bakers knead the dough twice!"
    assert excerpt(passage, "low tide") == "We saw the tide; it was low."
    assert excerpt(passage, "猫") == "我们喜欢猫。"
    assert excerpt(passage, "nothing alike") == "The ship is late."
    long = " ".join(f"{a}{b}" for a in "abcdefghij" for b in "klmnopqrst")
    assert len(excerpt(long, "ho")) <= 120
    assert "ho" in excerpt(long, "ho").split()
    assert sources.excerpt("images", passage, "tide") == passage


def test_options_of_passages_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some words", encoding="utf-8")
    for features, why in (
        ({"overlap": 3}, "without passage"),
        ({"passage": 20, "overlap": 20}, "is not less than"),
        ({"passage": 20, "mail": True}, "exclude each other"),
    ):
        with pytest.raises(RecipeError, match=why):
            text(tmp_path, features=features)


def test_passages_are_suggested_for_long_documents(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(" ".join(SENTENCES * 3), encoding="utf-8")
    assert "passage = 300" in suggest(str(tmp_path), folder=tmp_path.parent)[1]
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(" ".join(SENTENCES), encoding="utf-8")
    assert "passage =" not in suggest(str(tmp_path), folder=tmp_path.parent)[1]


def splits_of(source: Text) -> dict[str, set[str]]:
    """Return the splits of the passages of each document."""
    found: dict[str, set[str]] = {}
    for outcome in read(source):
        split = source.split(outcome.item, outcome.sha256)
        found.setdefault(outcome.item.key.partition("@")[0], set()).add(split)
    return found


@pytest.mark.parametrize("table", [False, True])
def test_passages_of_a_document_are_in_one_split(table: bool, tmp_path: Path) -> None:
    books = [" ".join(f"word{n * b % 97} chapter" for n in range(200)) for b in range(1, 25)]
    if table:
        (tmp_path / "b.jsonl").write_text("\n".join(json.dumps({"text": book}) for book in books))
    else:
        for number, book in enumerate(books):
            (tmp_path / f"{number}.txt").write_text(book)
    source = text(tmp_path, features={"passage": 40, "overlap": 0}, split={"test": 0.4})
    found = splits_of(source)
    assert len(found) == 24
    assert {len(splits) for splits in found.values()} == {1}
    assert set.union(*found.values()) == {"train", "test"}
    held = {key for key, splits in found.items() if splits == {"test"}}
    assert 4 < len(held) < 20


def test_passages_of_the_only_document_are_in_both_splits(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(" ".join(f"word{n % 97} chapter{n}" for n in range(2000)))
    source = text(tmp_path, features={"passage": 40, "overlap": 0}, split={"test": 0.3})
    assert splits_of(source)["book.txt"] == {"train", "test"}


def test_whole_documents_stay_in_the_split_of_their_bytes(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.txt").write_text(f"ships and bread {number}")
    for features in ({}, {"passage": 40}):
        source = text(tmp_path, features=features, split={"test": 0.5})
        found = {one.item.key: source.split(one.item, one.sha256) for one in read(source)}
        by_bytes = {key: hashlib.sha256((tmp_path / key).read_bytes()).digest()[0] < 128 for key in found}
        assert {key: split == "test" for key, split in found.items()} == by_bytes


def test_one_document_cannot_be_compared(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The only text in it.")
    with pytest.raises(SourceError, match="1 of 1 documents to learn from, and codes compare documents: put each"):
        text(tmp_path, features={"least": 2}).fitted(None)


def test_a_workbook_among_documents_is_one_of_them(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.docx").write_bytes(docx([*SENTENCES[number : number + 4], f"number {number}"]))
    for number in range(2):
        rows = [[f"A long sentence about ships in row {n}, and about {number} more things"] for n in range(20)]
        (tmp_path / f"{number}.xlsx").write_bytes(xlsx(rows))
    _, recipe, held = suggest(str(tmp_path), folder=tmp_path)
    assert held.kinds == {"text": 14}
    assert "header" not in recipe
    assert not [line for line in recipe.splitlines() if line.startswith("text =")]
    assert len(read(text(tmp_path))) == 14


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        (["ships and bread are here"] * 12 + ["ships are late"] * 2, "most = 1.0"),
        ([f"alone{n}x only{n}x" for n in range(12)], "least = 1"),
        ([f"{['ships', 'bread', 'harbour', 'flour'][n % 4]} word{n}" for n in range(20)], "least = 2"),
    ],
)
def test_a_recipe_for_few_documents_leaves_none_without_words(documents: list[str], said: str, tmp_path: Path) -> None:
    for number, document in enumerate(documents):
        (tmp_path / f"{number}.txt").write_text(document.translate({48 + n: "abcdefghij"[n] for n in range(10)}))
    recipe = tomllib.loads(suggest(str(tmp_path), folder=tmp_path)[1])
    name, _, value = said.partition(" = ")
    assert recipe["features"].get(name) == float(value)
    assert [one for one in read(text(tmp_path, features=recipe["features"])) if one.reason] == []


def test_a_table_of_short_sentences_and_their_class_is_documents(tmp_path: Path) -> None:
    lines = [f"{n},今天我们去看{'猫狗鸟鱼'[n % 4]}和{chr(0x4E00 + n)},{'甲乙'[n % 2]}" for n in range(60)]
    (tmp_path / "z.csv").write_text("编号,句子,类别\n" + "\n".join(lines))
    _, recipe, held = suggest(str(tmp_path / "z.csv"), folder=tmp_path)
    assert held.kind == "text"
    assert 'text = "句子"' in recipe
    numbers = "\n".join(f"{line},{n / 7:.2f}" for n, line in enumerate(lines))
    (tmp_path / "n.csv").write_text("编号,句子,类别,价格\n" + numbers)
    assert suggest(str(tmp_path / "n.csv"), folder=tmp_path)[2].kind == "table"
