"""Fonts: letters of all scripts are drawn by a font that has them, and never as empty boxes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib import get_data_path
from matplotlib.text import Text
from PIL import ImageFont

from aepipe.report import canvas, charts, fonts
from aepipe.report.tiles import Found, Tile, hits_picture

DEJAVU = Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
SERIF = DEJAVU.with_name("DejaVuSerif.ttf")


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    """Forget the fonts of this machine before and after each test."""
    cached = (fonts.faces, fonts._drawable, fonts._first_with)
    for one in cached:
        one.cache_clear()
    yield
    for one in cached:
        one.cache_clear()


def _fontconfig(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str, status: int = 0) -> None:
    """Put a program in place of fontconfig's, which prints some lines."""
    folder.mkdir()
    (folder / "lines").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    program = folder / "fc-match"
    program.write_text(f"#!/bin/sh\ncat '{folder}/lines'\nexit {status}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def _without_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_of_fontconfig", lambda: iter(()))
    monkeypatch.setattr(fonts, "_of_matplotlib", str)


def test_the_letters_of_pillows_own_font_are_known() -> None:
    font = ImageFont.load_default(40)
    missing = bytes(font.getmask("\U0010ffff"))
    letters = [chr(point) for point in range(0x20, 0x3000) if point != 0xAD and chr(point).isprintable()]
    found = {letter for letter in letters if bytes(font.getmask(letter)) != missing}
    assert found == {letter for letter in fonts.OWN if letter.isprintable()}


def test_fontconfig_says_which_font_has_a_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "/nowhere/gone.ttf\t0\tTrue\tFalse\t20-10ffff",
        f"{SERIF}\t0\tFalse\tFalse\t20-10ffff",  # a font of pixels
        f"{SERIF}\t0\tTrue\tTrue\t20-10ffff",  # a font of coloured pictures
        f"{SERIF}\t65536\tTrue\tFalse\t41-5a e4 400-44f",
        f"{DEJAVU}\t0\tTrue\tFalse\t20-7e e4 626",
    ]
    _fontconfig(tmp_path / "bin", monkeypatch, *lines)
    monkeypatch.setattr(fonts, "_of_matplotlib", str)
    assert [face.path for face in fonts.faces()] == [str(SERIF), str(DEJAVU)]
    assert [(part, Path(face.path).name) for part, face in fonts.runs("ab")] == [("ab", "")]
    assert [(part, Path(face.path).name) for part, face in fonts.runs("ЖA")] == [("ЖA", "DejaVuSerif.ttf")]
    assert [(part, Path(face.path).name) for part, face in fonts.runs("aä")] == [("aä", "DejaVuSans.ttf")]
    mixed = [(part, Path(face.path).name) for part, face in fonts.runs("Ж a ئ")]
    assert mixed == [("Ж", "DejaVuSerif.ttf"), (" a ", ""), ("ئ", "DejaVuSans.ttf")]
    assert fonts.drawable("Жä北") == "Жä\\u5317"


def test_a_fontconfig_that_fails_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fontconfig(tmp_path / "bin", monkeypatch, f"{SERIF}\t0\tTrue\tFalse\t20-ffff", status=1)
    monkeypatch.setattr(fonts, "_of_matplotlib", str)
    assert fonts.faces() == ()


def test_matplotlibs_font_is_taken_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_of_fontconfig", lambda: iter(()))
    assert fonts.drawable("größe й ع") == "größe й ع"
    assert fonts.drawable("ไ ิ 北") == "\\u0e44 \\u0e34 \\u5317", "no circle under a mark, no box"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Äpfel, Größe, café", "Apfel, Grosse, cafe"),
        ("a\u0308", "a"),
        ("Łódź – 5 €", "Lodz - 5 EUR"),
        ("½ ﬁn", "1⁄2 fin"),
        ("北京.jpg", "\\u5317\\u4eac.jpg"),
        ("🎉", "\\U0001f389"),
    ],
)
def test_without_a_font_letters_lose_their_accents_or_become_numbers(
    text: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without_fonts(monkeypatch)
    assert canvas.printable(text) == shown


def test_what_only_joins_letters_is_not_shown() -> None:
    assert canvas.printable("a\u200db\u202ec\nd\ud800") == "abc?d?"


def test_a_sheet_shows_umlauts_and_not_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    def sheet(label: str) -> bytes:
        return hits_picture([Found(Tile("q", None, label, text=label * 40), [Tile("h", None, label, 1)])]).tobytes()

    with monkeypatch.context() as patch:
        _without_fonts(patch)
        assert sheet("北") == sheet("\\u5317")
        assert sheet("ä") == sheet("a")
    for one in (fonts.faces, fonts._drawable, fonts._first_with):
        one.cache_clear()
    assert sheet("ä") not in (sheet("a"), sheet("ö"))


def test_parts_in_several_fonts_stand_where_one_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{DEJAVU}\t0\tTrue\tFalse\t410-42f", f"{SERIF}\t0\tTrue\tFalse\te4-f6"]
    _fontconfig(tmp_path / "bin", monkeypatch, *lines)
    for anchor in ("la", "mm", "ma", "lm"):
        picture, pen = canvas.blank(200, 60)
        canvas.write(pen, (100, 30), "ЖäЖ", anchor=anchor, points=20)
        dark = np.argwhere(np.asarray(picture.convert("L")) < 128) / canvas.SCALE
        top, left = dark.min(axis=0)
        bottom, right = dark.max(axis=0)
        assert right - left == pytest.approx(canvas.text_width("ЖäЖ", 20), abs=4)
        middle = ((left + right) / 2, (top + bottom) / 2)
        assert (middle[0] if anchor[0] == "m" else left) == pytest.approx(100, abs=3), anchor
        assert (middle[1] if anchor[1] == "m" else top) == pytest.approx(30 + 3 * (anchor[1] == "a"), abs=5), anchor


def test_long_words_are_broken() -> None:
    assert len(list(canvas._lines("x" * 300, 8, 100))) > 5
    assert list(canvas._lines("a bc d", 8, 100)) == ["a bc d"]
    assert "".join(canvas._lines("这是一个很长的句子没有空格" * 9, 8, 100)) == "这是一个很长的句子没有空格" * 9


def _map(label: str) -> charts.Chart:
    points = np.random.default_rng(0).normal(size=(20, 2))
    return charts.plane_picture(points, [label] * 20, title="Größe")


def _texts(chart: charts.Chart) -> list[Text]:
    return [one for one in chart.figure.findobj() if isinstance(one, Text)]


def test_a_map_takes_fonts_that_matplotlib_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # This font has no Chinese letters, but what is tested is that it is asked for them.
    _fontconfig(tmp_path / "bin", monkeypatch, f"{SERIF}\t0\tTrue\tFalse\t20-7e 5317")
    texts = [text for text in _texts(_map("北")) if text.get_text() == "北"]
    assert texts
    assert all(text.get_fontfamily() == ["DejaVu Sans", "DejaVu Serif"] for text in texts)


def test_a_map_writes_numbers_where_no_font_has_a_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_of_fontconfig", lambda: iter(()))
    shown = {text.get_text() for text in _texts(_map("北"))}
    assert {"\\u5317", "Größe"} <= shown


def test_chinese_is_drawn_by_a_font_of_this_machine(recwarn: pytest.WarningsRecorder) -> None:
    face = fonts.face_of("北京")
    if face is None:
        pytest.skip("no font of this machine has Chinese letters")
    assert fonts.drawable("北京") == "北京"
    assert bytes(fonts.sized(face, 20).getmask("北")) != bytes(fonts.sized(face, 20).getmask("京"))
    assert _map("北").image().tobytes() != _map("京").image().tobytes()
    assert not [one for one in recwarn if "missing" in str(one.message)]
