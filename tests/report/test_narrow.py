"""On a narrow terminal tables are folded or parted into blocks, and every letter is still there."""

from __future__ import annotations

import pytest

from aepipe.report.narrow import blocks, folded, pieces
from aepipe.report.tables import text_table, width

ROWS = [
    ["rank", "distance", "key", "what is said of it"],
    ["1", "12", "photos/2024/holidays/IMG_1234.jpg", "a boat on a lake, early in the morning, with fog"],
    ["2", "7", "写真/湖.jpg", "朝の湖に浮かぶ一艘の舟と、霧の中の山々と、岸辺の小さな家"],
]


@pytest.mark.parametrize("room", [24, 30, 40, 60, 80, 100, 140, 200])
def test_a_table_fits_and_loses_nothing(room: int) -> None:
    parts = blocks(ROWS, room, left=(2, 3))
    assert max(width(line) for part in parts for line in part) <= room
    whole = "".join("".join(line.split()) for part in parts for line in part)
    for row in ROWS:
        for cell in row:
            assert set(cell.replace(" ", "")) <= set(whole)


def test_a_table_that_fits_stays_as_it_is() -> None:
    (only,) = blocks(ROWS, 200, left=(2, 3))
    assert "\n".join(only) == text_table(ROWS, left=(2, 3))


def test_numbers_are_never_folded_but_stand_in_blocks() -> None:
    head = ["metric", *(f"system {n}" for n in range(6))]
    parts = blocks([head, ["map", *(f"0.{n}23 ±0.456" for n in range(6))]], 60)
    assert len(parts) > 1
    assert all(part[1].startswith("map") for part in parts)
    assert [cell for part in parts for cell in part[1].split() if cell.startswith("0.")] == [
        f"0.{n}23" for n in range(6)
    ]


def test_lines_are_folded_between_words_below_what_they_are_about() -> None:
    text = "short\n  source    a folder with many pictures of all sorts\n"
    text += "Examples:\n  aepipe run /a/very/long/path/without/any/space"
    assert folded(text, 30).split("\n") == [
        "short",
        "  source    a folder with many",
        "            pictures of all",
        "            sorts",
        "Examples:",
        "  aepipe run",
        "    /a/very/long/path/without/any/space",
    ]
    assert folded(text, 200) == text


def test_pieces_end_behind_a_space_else_a_slash_else_anywhere() -> None:
    assert pieces("one two three", 8) == ["one two", "three"]
    assert pieces("photos/2024/x.jpg", 12) == ["photos/2024/", "x.jpg"]
    assert pieces("abcdefgh", 3) == ["abc", "def", "gh"]
    assert pieces("日本語", 1) == ["日", "本", "語"]
