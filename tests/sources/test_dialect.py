"""Dialects of CSV: delimiter, lines before the header, header or row."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from aepipe.sources.formats import records
from aepipe.sources.formats.dialect import Dialect, dialect_of, own_names


def told(text: str, delimiter: str | None = None, *, header: bool | None = None) -> Dialect:
    """Return the dialect of some lines."""
    return dialect_of(text.splitlines(keepends=True), delimiter=delimiter, header=header)


ROWS = "".join(f"{30 + i % 9},5;{70 + i % 7},1\n" for i in range(99))
PAPERS = "".join(f"the team, it scored {i} goals, then left;{'ab'[i % 2]}\n" for i in range(99))


@pytest.mark.parametrize(
    ("text", "delimiter", "names"),
    [
        ("a,b\n1,2\n", ",", ("a", "b")),
        ("a\tb\n1\tx, y\n2\tz\n", "\t", ("a", "b")),
        ("a|b\n1|x, y\n2|z\n", "|", ("a", "b")),
        ("alter;gewicht\n" + ROWS, ";", ("alter", "gewicht")),
        ("text;label\n" + PAPERS, ";", ("text", "label")),
        ('text,label\n"hello,\nworld; a;b",x\n"foo\nbar",y\n', ",", ("text", "label")),
        ('a, "b, c"\n1, "x, y"\n', ",", ("a", "b, c")),
        ("a,b\n", ",", ("a", "b")),
        ("text\nhello world\nfoo, bar\nx, y, z\n", None, ("text",)),
        ("x\n1\n2\n", ",", ("x",)),
        ("", ",", ()),
    ],
)
def test_the_delimiter_is_that_which_makes_rows(text: str, delimiter: str | None, names: tuple[str, ...]) -> None:
    found = told(text)
    assert found.names == names
    assert delimiter in {None, found.delimiter}
    assert found.header
    assert not found.is_row


def test_another_delimiter_than_the_usual_is_said() -> None:
    assert told("text;label\n" + PAPERS).notes == ("cells are parted by ';'",)
    assert told("a\tb\n1\t2\n").notes == ("cells are parted by a tab",)
    assert dialect_of(["a\tb\n", "1\t2\n"], usual="\t").notes == ()


@pytest.mark.parametrize(
    ("before", "skipped"),
    [
        ("Instrument: X200, serial 5\nDate: 2024-01-01\n\n", 3),
        ("# made by x, y\n", 1),
        ("sep=;\n", 1),
        ("Report of May;;\n;;\n", 2),
    ],
)
def test_lines_before_the_header_are_left_out(before: str, skipped: int) -> None:
    found = told(before + "time;temp;state\n" + "".join(f"{i};{i * 2},5;ok\n" for i in range(50)))
    assert (found.skipped, found.names, found.delimiter) == (skipped, ("time", "temp", "state"), ";")
    assert any("before the header left out" in note for note in found.notes)


def test_a_header_may_begin_with_a_hash() -> None:
    assert told("#id,name\n1,x\n2,y\n").names == ("#id", "name")


@pytest.mark.parametrize(
    "lines",
    [
        [f"{i * 0.37:.3f},{i * 0.11:.3f},{'xyz'[i % 3]}" for i in range(100)],
        ["T,2,8,3,8", "I,5,12,3,7", "D,4,11,6,8", "T,7,11,6,6"],
        [f"{['low', 'high'][i % 2]},{['2', '5more'][i % 3 % 2]},{'ab'[i % 2]}" for i in range(60)],
        [f"{i}.png,{'ab'[i % 2]}" for i in range(9)],
        ["5,,x", "6,7,y", "7,,z", "8,1,x"],
        [f'"{i % 4 + 1}","Title {i}","Some longer story, number {i}, with words"' for i in range(20)],
        ["2024-01-01,x", "2024-01-02,y", "2024-01-03,x"],
    ],
)
def test_a_row_in_place_of_a_header_is_seen(lines: list[str]) -> None:
    found = told("\n".join(lines) + "\n")
    assert found.is_row
    assert not found.header
    assert found.names == tuple(f"column_{place}" for place in range(len(found.names)))
    assert told("\n".join(lines) + "\n", header=True).header


@pytest.mark.parametrize(
    "text",
    [
        ",a,b\n0,1,x\n1,2,y\n",  # an index of pandas
        ",0,1\n0,1,2\n1,2,4\n",
        "0,1,2\n5,6,7\n8,9,5\n",
        "country,2001,2002\nDE,1,2\nFR,3,4\n",
        "image,label\na.png,x\nb.png,y\n",
        "name,city\nx,y\nz,y\n",
    ],
)
def test_names_are_no_row(text: str) -> None:
    assert told(text).header
    assert not told(text).is_row


def test_rows_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"each of 400 rows has 4 cells, the header 3 names: 'a,b,c'"):
        told("a,b,c\n" + "".join(f"{i},1,x,{i}\n" for i in range(400)))
    with pytest.raises(ValueError, match=r"most of 401 rows have 4 cells, the header 3 names"):
        told("a,b,c\n1,2,3\n" + "".join(f"{i},1,x,{i}\n" for i in range(400)))


def test_a_header_that_looks_like_several_names_stops() -> None:
    with pytest.raises(ValueError, match=r"seems to have several names, parted by ';'"):
        told("q1 (yes; no)\n" + "fine\n" * 9)
    assert told("q1 (yes; no)\n" + "fine\n" * 9, header=True).names == ("q1 (yes; no)",)


def test_a_delimiter_at_the_end_of_each_row_is_no_column() -> None:
    rows = "".join(f"{i},{i * 2},\n" for i in range(200))
    assert (told("a,b\n" + rows).names, told("a,b\n" + rows).trailing) == (("a", "b"), 1)
    assert told("a,b,\n" + rows).names == ("a", "b")


def test_each_column_has_a_name_of_its_own() -> None:
    assert own_names(["a", "a", "b", "a_2", "a"])[0] == ("a", "a_2_", "b", "a_2", "a_3")
    assert own_names(["", "x", ""])[0] == ("column_0", "x", "column_2")
    assert own_names(["", "x"])[0] == ("", "x")
    assert told("a,a\n1,2\n").notes == ("2 columns have the name 'a'; they are called a, a_2",)


def test_the_delimiter_of_small_numbers() -> None:
    random.seed(0)
    for delimiter in ",;\t|":
        rows = "".join(f"{random.randint(1, 5)}{delimiter}{random.randint(1, 5)}\n" for _ in range(200))
        assert told(f"q1{delimiter}q2\n{rows}").delimiter == delimiter


def test_numbers_in_columns_of_spaces() -> None:
    lines = [f"  {i}  {i * 0.5:8.2f}   {i % 3}\n" for i in range(30)]
    found = dialect_of(lines, aligned=True)
    assert (found.delimiter, found.names, found.spaces) == (" ", ("column_0", "column_1", "column_2"), True)
    assert dialect_of(["a b\n", "c d\n"]).delimiter == ","


def test_quotation_marks_with_a_backslash() -> None:
    rows = "".join(f'"he said \\"hi\\" {i}, then left",{i}\n' for i in range(9))
    found = told("text,n\n" + rows)
    assert (found.escape, found.names, found.delimiter) == ("\\", ("text", "n"), ",")
    paths = "".join(f'"C:\\new folder\\",{i}\n' for i in range(9))
    assert told("path,n\n" + paths).escape is None


@pytest.mark.parametrize("first", ["老师给学生讲了一个故事。", "คนไทยชอบกินข้าวทุกวัน"])
def test_a_sentence_without_spaces_above_others_is_no_header(first: str, tmp_path: Path) -> None:
    rows = [f"今天的天气非常好我们去公园散步{n}" for n in range(30)]
    (tmp_path / "lines.csv").write_text("\n".join([first, *rows]))
    (tmp_path / "named.csv").write_text("\n".join(["句子", *rows]))
    assert records.is_headless(tmp_path / "lines.csv", "lines.csv")
    assert not records.is_headless(tmp_path / "named.csv", "named.csv")
