"""Words of all scripts: marks, scripts without spaces, and the rows that stay as they were without them."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepipe import sources
from aepipe.errors import ExtraError, ItemError
from aepipe.pipeline.suggest import suggest
from aepipe.sources.loader import read_all
from aepipe.sources.text import decode, scripts
from aepipe.sources.text.decode import terms_of, words_of
from aepipe.sources.text.source import Features, Options, Text

LOOSE: dict[str, Any] = {"words": 50, "least": 1, "most": 1.0}
PLAIN = re.compile(r"[^\W\d_]{2,}")
SPACED = {
    "english": "The cat sat on the mat, 42 times; don't!",
    "german": "Größe und Maß: fünfzehn 15 Straßen",
    "russian": "Съешь же ещё этих мягких французских булок; йод",
    "greek": "ὈΔΥΣΣΕΎΣ Ξεσκεπάζω τὴν ψυχοφθόρα",
    "korean": "한국어 문장입니다",
    "decomposed": unicodedata.normalize("NFD", "L'élève français à Nürnberg"),
}


def text(folder: Path, **features: Any) -> Text:
    return Text(Options(path="."), Features(**{**LOOSE, **features}), base=folder, name="t")


def write(folder: Path, documents: Sequence[str]) -> Path:
    for number, document in enumerate(documents):
        (folder / f"{number}.txt").write_text(document, encoding="utf-8")
    return folder


@pytest.mark.parametrize("sample", SPACED.values(), ids=SPACED.keys())
def test_words_with_spaces_and_without_marks_are_runs_of_letters(sample: str) -> None:
    expected = PLAIN.findall(unicodedata.normalize("NFKC", sample).lower())
    assert words_of(sample, mail=False) == expected
    assert expected


@given(st.text(st.characters(max_codepoint=0x2FF), max_size=60))
def test_no_text_of_latin_letters_has_other_words_than_before(sample: str) -> None:
    spelled = unicodedata.normalize("NFKC", sample).lower()
    if not scripts.concerns(spelled):
        assert words_of(sample, mail=False) == PLAIN.findall(spelled)


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ("मैं हिन्दी खिलाड़ी", ["मैं", "हिन्दी", "खिलाड़ी"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("كَتَبَ العربية", ["كَتَبَ", "العربية"]),
        ("বাংলা ভাষা", ["বাংলা", "ভাষা"]),
        ("ക്ഷ\u200dമ", ["ക്ഷമ"]),
        ("q\u0303ab x", ["q\u0303ab"]),
        ("I ❤\ufe0f it", ["it"]),
        ("İstanbul", ["i\u0307stanbul"]),
    ],
)
def test_marks_belong_to_their_word(sample: str, expected: list[str]) -> None:
    assert words_of(sample, mail=False) == [unicodedata.normalize("NFKC", word) for word in expected]


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ("猫", ["猫"]),
        ("守门员", ["守", "门", "员", "守门", "门员"]),
        ("我有iPhone手机2台。", ["我", "有", "我有", "iphone", "手", "机", "手机", "台"]),
        ("データを", ["デ", "ー", "タ", "を", "デー", "ータ", "タを"]),
        ("ﾃﾞｰﾀ", ["デ", "ー", "タ", "デー", "ータ"]),
        ("𠮷野", ["𠮷", "野", "𠮷野"]),
        ("葛\U000e0100城", ["葛", "城", "葛城"]),
        ("ที่นี่", ["ที่", "นี่", "ที่นี่"]),
        ("ខ្មែរ", ["ខ្មែ", "រ", "ខ្មែរ"]),
        ("မြန်မာ", ["မြ", "န်", "မာ", "မြန်", "န်မာ"]),
        ("ພາສາ", ["ພ", "າ", "ສ", "າ", "ພາ", "າສ", "ສາ"]),
    ],
)
def test_scripts_without_spaces_give_letters_and_pairs(sample: str, expected: list[str]) -> None:
    assert words_of(sample, mail=False) == expected


@given(st.text(max_size=40))
def test_the_words_of_any_text_are_letters_and_marks_of_it(sample: str) -> None:
    spelled = re.sub(scripts._DRAWING, "", decode.spelled(sample, mail=False))
    for word in words_of(sample, mail=False):
        assert word in spelled
        assert all(unicodedata.category(letter)[0] in "LMN" for letter in word)


def test_rows_of_words_with_spaces_carry_nothing_new(tmp_path: Path) -> None:
    # One document of another script does not change how the rows of all are made.
    write(tmp_path, [*SPACED.values(), "the cat on the mat", "die Straßen und das Maß", "猫 of the mat"])
    source = text(tmp_path, least=2).fitted(None)
    assert decode.SCRIPTS not in source.features()
    assert "segmenter" not in source.features()
    counts = [
        set(PLAIN.findall(unicodedata.normalize("NFKC", d.read_text("utf-8")).lower())) for d in tmp_path.iterdir()
    ]
    vocabulary = source.features()["vocabulary"]
    assert all(sum(word in found for found in counts) >= 2 for word in vocabulary)
    assert "the" in vocabulary


def test_documents_without_spaces_are_read_like_others(tmp_path: Path) -> None:
    write(tmp_path, ["我喜欢猫。", "我喜欢狗。", "猫和狗都喜欢我", "cats and dogs"])
    source = text(tmp_path).fitted(None)
    assert source.features()[decode.SCRIPTS] == scripts.RULES
    assert [one.reason for one in read_all(source)] == [None] * 4
    row = source.row("猫".encode(), "q")
    assert [source.features()["vocabulary"][place] for place in np.flatnonzero(row)] == ["猫"]
    with pytest.raises(ItemError, match=r"none of its words is among .*: '鱼'"):
        source.row("鱼".encode(), "q")


def test_a_collection_of_before_keeps_its_words(tmp_path: Path) -> None:
    write(tmp_path, ["मैच खिलाड़ी टीम", "आटा चीनी रसोई", "मैच टीम"])
    known = text(tmp_path).fitted(None).features()
    before = {name: value for name, value in known.items() if name != decode.SCRIPTS}
    before |= {"vocabulary": ["नम", "खल"], "rarity": [1.0, 1.5]}
    assert text(tmp_path).fitted(before).features() == before
    assert text(tmp_path).fitted(known).features() == known
    row = sources.decoder("text", before)("नम".encode(), "q")
    assert np.flatnonzero(row).tolist() == [0]


def test_chinese_is_cut_by_a_segmenter_that_the_recipe_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jieba")
    write(tmp_path, ["我们喜欢足球比赛", "他们喜欢足球教练"])
    features = text(tmp_path, segmenter="jieba").fitted(None).features()
    assert {"足球", "喜欢", "比赛"} <= set(features["vocabulary"])
    assert "欢足" not in features["vocabulary"]
    row = sources.decoder("text", features)("足球".encode(), "q")
    assert [features["vocabulary"][place] for place in np.flatnonzero(row)] == ["足球"]
    monkeypatch.setattr("aepipe.sources.text.source.find_spec", lambda name: None)
    with pytest.raises(ExtraError, match=r"aepipe\[chinese\]"):
        text(tmp_path, segmenter="jieba")


@pytest.mark.parametrize(
    ("argument", "words"),
    [("猫", True), ("和/或", True), ("版本2.0", True), ("写真/猫.jpg", False), ("/猫", False), ("ไม่/มี", True)],
)
def test_words_without_spaces_are_no_path(argument: str, words: bool) -> None:
    assert decode._is_path(argument) != words


def table(folder: Path, columns: dict[str, Sequence[str]]) -> str:
    lines = [
        json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False)
        for row in zip(*columns.values(), strict=True)
    ]
    (folder / "t.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return str(folder / "t.jsonl")


LONG_CHINESE = [f"第{n}天我们的球队在城里的体育场赢得了一场重要的比赛" for n in range(30)]
SHORT = [
    f"{colour} {stuff} {thing}"
    for colour in ("red", "blue", "green")
    for stuff in ("cotton", "wool")
    for thing in ("shirt", "jacket", "hat", "scarf", "glove")
]


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"body": LONG_CHINESE, "price": [str(n % 7) for n in range(30)]}, "text"),
        ({"title": SHORT, "label": ["a", "b", "c"] * 10}, "text"),
        ({"id": [str(n) for n in range(30)], "title": SHORT}, "text"),
        ({"text": SHORT, "price": [str(n % 7) for n in range(30)]}, "text"),
        ({"name": SHORT, "price": [str(n % 7) for n in range(30)]}, "table"),
        ({"city": ["北京市", "上海市", "广州市"] * 10, "price": [str(n % 7) for n in range(30)]}, "table"),
        (
            {"answer": ["I do not know that", "yes I do know that"] * 15, "price": [str(n % 7) for n in range(30)]},
            "table",
        ),
    ],
)
def test_a_column_of_texts_is_documents(tmp_path: Path, columns: dict[str, Sequence[str]], kind: str) -> None:
    _, recipe, held = suggest(table(tmp_path, columns), folder=tmp_path)
    assert held.kind == kind, recipe


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("XJ-905: v2 of a_5, 0x80070005", ["xj", "905", "v2", "of", "5", "0x80070005"]),
        ("iPhone 15の ISO9001 で 3", ["iphone", "15", "の", "iso9001", "で", "3"]),
        ("链条7", ["链", "条", "链条", "7"]),
    ],
)
def test_digits_are_letters_of_terms(text: str, terms: list[str]) -> None:
    assert terms_of(text) == terms
