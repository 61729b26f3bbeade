"""Documents become rows of words: weights, the vocabulary, and refused documents."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aepipe import sources
from aepipe.errors import ItemError, QueryError, SourceError
from aepipe.sources import preview
from aepipe.sources.formats import json_files as reading
from aepipe.sources.loader import Outcome, read_all
from aepipe.sources.text.decode import body_of, words_of
from aepipe.sources.text.function_words import ENGLISH
from aepipe.sources.text.source import Features, Options, Text

DOCUMENTS = [
    "The cat sat on the mat.",
    "A cat and a dog; the dog barked.",
    "Dogs bark, cats sit: 42 cats.",
    "Der Hund bellt, die Katze schläft.",
    "The dog sat.",
]
LOOSE = {"least": 1, "most": 1.0}
MAIL = """From: someone@example.org
Subject: engines

In article <1@example.org>, other@example.org writes:
> what is the best oil?

Mine runs on olive oil.

--
Some One, Somewhere
"""


def text(folder: Path, path: str = ".", features: dict[str, Any] | None = None, **options: object) -> Text:
    chosen = Features(**{"words": 20, **LOOSE, **(features or {})})
    return Text(Options(path=path, **options), chosen, base=folder, name="t")  # type: ignore[arg-type]


def outcomes(source: Text) -> list[Outcome]:
    return list(read_all(source))


def write_files(folder: Path) -> Path:
    for number, document in enumerate(DOCUMENTS):
        (folder / f"{number}.txt").write_text(document, encoding="utf-8")
    return folder


def test_words_are_letters_of_any_alphabet_in_lower_case() -> None:
    assert words_of("Ärger & ὈΔΥΣΣΕΎΣ, x2 don't Москва ﬁn", mail=False) == [
        "ärger",
        "ὀδυσσεύς",
        "don",
        "москва",
        "fin",
    ]


def test_headers_quotations_and_signatures_of_mails_are_left_out() -> None:
    assert body_of(MAIL).split() == ["Mine", "runs", "on", "olive", "oil."]
    assert body_of("Just a note.\nNothing else.") == "Just a note.\nNothing else."
    assert body_of("> all quoted\n> nothing else") == ""
    note = "# Note\n\nThe oven is hot.\nThe rye is ready."
    assert body_of(note) == note, "no header: not a mail, and its last block is no signature"
    letter = "From: a\n\nHi Bob,\n\nThe meeting is at ten.\n"
    assert body_of(letter).split() == ["Hi", "Bob,", "The", "meeting", "is", "at", "ten."]
    assert body_of(letter + "\n-- \nAnn\n").split()[-1] == "ten."
    assert (body_of(note, 1), body_of(letter, 1)) == ("# Note", "Hi Bob,"), "as releases of before were made"
    assert words_of(MAIL, mail=True) == ["mine", "runs", "on", "olive", "oil"]


def test_weights_follow_the_formula(tmp_path: Path) -> None:
    source = text(write_files(tmp_path), features={"weights": "counts"}).fitted(None)
    vocabulary: list[str] = source.features()["vocabulary"]
    row = source.row(DOCUMENTS[1].encode(), "a")
    found = {word: float(value) for word, value in zip(vocabulary, row, strict=False) if value}
    assert set(found) == {"cat", "dog", "the", "and", "barked"}
    assert found["dog"] == pytest.approx(math.log(3), abs=1e-3)
    assert found["cat"] == pytest.approx(math.log(2), abs=1e-3)
    weighed = text(tmp_path).fitted(None)
    row = weighed.row(DOCUMENTS[1].encode(), "a").astype(np.float64)
    assert np.square(row).sum() == pytest.approx(1.0, abs=2e-3)
    rarity = dict(zip(vocabulary, weighed.features()["rarity"], strict=True))
    assert rarity["the"] == pytest.approx(math.log(6 / 4) + 1, abs=1e-5)
    shares = row[[vocabulary.index(word) for word in ("dog", "cat")]]
    assert shares[0] / shares[1] == pytest.approx(math.log(3) * rarity["dog"] / math.log(2) / rarity["cat"], rel=2e-3)


def test_the_vocabulary_comes_from_the_train_split_and_keeps_its_bounds(tmp_path: Path) -> None:
    for name, documents in (("train", DOCUMENTS[:3]), ("test", DOCUMENTS[3:])):
        lines = [json.dumps({"text": one, "label": name}) for one in documents]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    source = text(tmp_path, split="file", label="label", features={"least": 2, "most": 0.9}).fitted(None)
    assert source.features()["vocabulary"] == ["cat", "the"]
    assert [one.item.split for one in outcomes(source)] == ["test", "test", "train", "train", "train"]
    few = text(tmp_path, split="file", features={"words": 2}).fitted(None)
    assert len(few.features()["vocabulary"]) == 2 == few.shape[0]
    with pytest.raises(SourceError, match="too few to learn from"):
        text(tmp_path, split="file", features={"least": 3, "most": 0.5}).fitted(None)


def test_a_vocabulary_is_kept_while_the_options_are_the_same(tmp_path: Path) -> None:
    before = text(write_files(tmp_path)).fitted(None).features()
    (tmp_path / "6.txt").write_text("zebra zebra", encoding="utf-8")
    assert text(tmp_path).fitted(before).features() == before
    assert "zebra" in text(tmp_path).fitted(None).features()["vocabulary"]
    assert "zebra" in text(tmp_path, features={"words": 21}).fitted(before).features()["vocabulary"]


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "csv", "csv.gz", "tsv", "parquet", "files"])
def test_documents_give_the_same_rows_in_every_format(tmp_path: Path, form: str) -> None:
    columns = {"body": DOCUMENTS, "year": [str(2000 + number) for number in range(5)]}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    file = tmp_path / f"d.{form}"
    separator = "\t" if form == "tsv" else ","
    lines = [separator.join(columns), *(separator.join(f'"{value}"' for value in row.values()) for row in rows)]
    if form == "files":
        write_files(tmp_path)
    elif form == "parquet":
        pq.write_table(pa.table(columns), file)
    else:
        body = "\n".join(json.dumps(row) for row in rows) if form.startswith("jsonl") else "\n".join(lines)
        file.write_bytes(gzip.compress(body.encode()) if form.endswith("gz") else body.encode())
    source = text(tmp_path, text="body").fitted(None)
    found = outcomes(source)
    (tmp_path / "x").mkdir()
    expected = text(write_files(tmp_path / "x")).fitted(None)
    for outcome, document in zip(found, DOCUMENTS, strict=True):
        assert outcome.reason is None
        assert outcome.features is not None
        np.testing.assert_array_equal(outcome.features, expected.row(document.encode(), "x"))
        assert outcome.item.columns["snippet"] == document
        assert preview(source.location, outcome.item.place).decode() == document
    if form != "files":
        read = int if form[:3] in {"csv", "tsv"} else str  # the others say that these are texts
        assert [one.item.columns["year"] for one in found] == [read(year) for year in columns["year"]]


def test_bad_documents_are_refused_one_by_one(tmp_path: Path) -> None:
    write_files(tmp_path)
    bad = {
        "binary.txt": (b"\x7fELF\0\0", "not text: it has zero bytes"),
        "broken.txt": (b"the cat \xff\xfe\x81\x8d\x90", "not in UTF-8: byte 0xff at 8"),
        "empty.txt": (b" \n", "empty document"),
        "numbers.txt": (b"1 2 3", "it has no words"),
        "foreign.txt": (b"quux frobnicate", "none of its words is among the 18 that the collection is known by"),
    }
    source = text(tmp_path, split="top").fitted(None)
    for name, (data, _) in bad.items():
        (tmp_path / name).write_bytes(data)
    reasons = {one.item.key: one.reason for one in outcomes(source) if one.reason}
    assert set(reasons) == set(bad)
    for name, (_, reason) in bad.items():
        assert (reasons[name] or "").startswith(reason)


def test_a_bad_line_is_one_bad_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LONGEST", 200)
    lines = [b'{"text": "a good line"}', b"{broken", b"[1]", b'{"text": "' + b"x" * 500 + b'"}', b'{"text": 3}', b""]
    (tmp_path / "d.jsonl").write_bytes(b"\n".join([*lines, b'{"text": "another good line"}', b'{"text": "\xff"}']))
    found = {one.item.key: one.reason for one in outcomes(text(tmp_path).fitted(None))}
    assert [found.pop(f"d.jsonl#{number}") for number in (0, 5)] == [None, None]
    assert found["d.jsonl#2"] == "not a JSON object"
    assert found["d.jsonl#3"] == "a line of more than 0 MB"
    assert (found["d.jsonl#1"] or "").startswith("not JSON: ")
    assert (found["d.jsonl#6"] or "").startswith("not JSON: ")


def test_a_csv_of_mixed_encodings_loses_only_the_bad_rows(tmp_path: Path) -> None:
    lines = ["text,n\nthe good cät,1\n".encode(), "the schläft,2\n".encode("latin-1"), b"a,b,c\n"]
    (tmp_path / "d.csv").write_bytes(b"".join(lines))
    good, latin, wide = outcomes(text(tmp_path).fitted(None))
    assert good.reason is None
    assert latin.reason == "column 'text' is not in UTF-8: byte 0xe4 (line 3)"
    assert wide.reason == "3 cells, the header has 2 names (line 4)"


def test_a_gzip_that_ends_early_is_an_error(tmp_path: Path) -> None:
    body = gzip.compress("\n".join(json.dumps({"text": f"{one} {n}"}) for n, one in enumerate(DOCUMENTS * 99)).encode())
    (tmp_path / "d.jsonl.gz").write_bytes(body[: len(body) // 2])
    with pytest.raises(SourceError, match="cannot be read to its end"):
        text(tmp_path).fitted(None)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("body\nx\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"no column 'text'; it has: body"):
        text(tmp_path)


def test_an_argument_is_a_file_a_folder_or_words(tmp_path: Path) -> None:
    write_files(tmp_path)
    assert [item.read() for item in sources.query_items("text", str(tmp_path / "4.txt"))] == [b"The dog sat."]
    assert len(list(sources.query_items("text", str(tmp_path)))) == len(DOCUMENTS)
    for words in ("what is a cat?", "cat", "cats, dogs/mice"):
        assert [item.read() for item in sources.query_items("text", words)] == [words.encode()]
    for path in ("nowhere.txt", "a/b"):
        with pytest.raises(QueryError, match="no such file or folder; to ask with a single word like this"):
            list(sources.query_items("text", path))


def test_a_query_of_unknown_words_is_refused(tmp_path: Path) -> None:
    source = text(write_files(tmp_path)).fitted(None)
    decode = sources.decoder("text", source.features())
    with pytest.raises(ItemError, match="none of its words is among the 18 that the collection is known by: 'zxqv'"):
        decode(b"zxqv", "zxqv")
    np.testing.assert_array_equal(decode(b"the cat", "q"), source.row(b"the cat", "q"))


def test_half_a_character_is_a_bad_item(tmp_path: Path) -> None:
    """JSON can hold lone surrogates, in names and in values; no UTF-8 and no Parquet can."""
    lines = [
        '{"text": "a good line"}',
        '{"text": "half \\ud800"}',
        '{"text": "b", "\\udfff": 1}',
        '{"text": "c", "d": "\\ud800"}',
    ]
    (tmp_path / "d.jsonl").write_text("\n".join([*lines, '{"text": "a whole one: \\ud83d\\ude00"}']), encoding="utf-8")
    source = text(tmp_path)
    found = {outcome.item.key: outcome.reason for outcome in outcomes(source.fitted(None))}
    assert [reason is None for reason in found.values()] == [True, False, False, False, True]
    assert all("a lone surrogate, which is no text" in reason for reason in found.values() if reason)


def test_function_words_that_a_recipe_leaves_out_are_known() -> None:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    assert ENGLISH_STOP_WORDS == ENGLISH
    features = {"vocabulary": ["bread", "oven"], "mail": False, "stop": "english"}
    share, plain = (sources.stranger_words("text", features | {"stop": stop}) for stop in ("english", None))
    assert share is not None
    assert plain is not None
    known, foreign = b"the bread is in the oven", b"das Brot ist schon im Ofen"
    assert share(known, "x") == pytest.approx(0.5 / 7)
    assert plain(known, "x") == pytest.approx(1 - 2.5 / 7)
    assert share(foreign, "x") > 0.9
