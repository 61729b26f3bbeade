"""Tables in text: damaged rows, types, encodings, workbooks, JSON; each cell is kept or named."""

from __future__ import annotations

import csv
import datetime
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aepipe import recipe, sources
from aepipe.errors import ItemError, SourceError
from aepipe.sources import preview
from aepipe.sources.files import Files
from aepipe.sources.formats import csv_files, records
from aepipe.sources.formats.text_tables import open_table
from aepipe.sources.item import Given, Item

CITIES = ["Ulm", "Kiel"]


def content(record: records.Record) -> bytes:
    """Return a record as JSON."""
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass")


def opened(
    folder: Path, name: str = "t.csv", key: str | None = None, used: Sequence[str] = (), **said: Any
) -> records.Records:
    """Return the records of a file."""
    return records.Records(Files.at(name, folder), content, used=used, key=key, given=Given(**said))


def write(folder: Path, text: str | bytes, name: str = "t.csv") -> Path:
    """Write a table."""
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def reasons(found: records.Records) -> list[str]:
    """Return why items cannot be read, of those that cannot."""
    said = []
    for item in found.items():
        try:
            item.read()
        except ItemError as error:
            said.append(error.reason)
    return said


def table(changed: dict[int, str]) -> str:
    """Return 400 rows of three cells, some of them changed."""
    rows = [changed.get(i, f"{i},{i % 7},{CITIES[i % 2]}") for i in range(400)]
    return "a,b,city\n" + "\n".join(rows) + "\n"


def types(found: records.Records) -> dict[str, str]:
    """Return the types of the columns."""
    return {field.name: str(field.type) for field in found.schema()}


@pytest.mark.parametrize(
    ("changed", "bad"),
    [
        ({200: '200,4,"Bonn" am Rhein'}, ["a quotation mark within a cell, or one that is not closed (line 202)"]),
        ({200: '200,4,"Bonn am Rhein'}, ["a quotation mark that is not closed (line 202)"]),
        ({399: '399,4,"Bonn'}, ["a quotation mark that is not closed (line 401)"]),
        (
            {200: '200,4,"Bonn', 210: '210,4,"Ulm"'},
            ["a quotation mark within a cell, or one that is not closed (line 202)"],
        ),
        (
            {200: '200,"4,Bonn', 210: '210,3",Kiel'},
            ["a quotation mark that is not closed (line 202)", "a quotation mark within a cell (line 212)"],
        ),
        ({200: '200,4,"Bonn\nam\nRhein, ja"'}, []),
        ({200: '200,4,"Bonn\nam\nRhein, ja",x'}, ["4 cells, the header has 3 names (line 202)"]),
        (
            {200: "200,4", 300: "300,4,b,c"},
            ["2 cells, the header has 3 names (line 202)", "4 cells, the header has 3 names (line 302)"],
        ),
        ({200: "", 201: '"","",""'}, []),
    ],
)
def test_a_damaged_row_is_one_bad_item(tmp_path: Path, changed: dict[int, str], bad: list[str]) -> None:
    found = opened(write(tmp_path, table(changed)))
    assert reasons(found) == bad
    items = list(found.items())
    assert len(items) == 400 - ("" in changed.values())
    assert [item.columns["a"] for item in items[-50:-1]] == list(range(350, 399))


def test_many_open_quotation_marks_cost_no_other_row(tmp_path: Path) -> None:
    changed = {i: f'{i},4,"Bonn' for i in range(0, 400, 7)}
    found = opened(write(tmp_path, table(changed)))
    good = [item.columns["a"] for item in found.items() if item.columns["a"] is not None]
    assert good == [i for i in range(400) if i not in changed]


def test_an_open_quotation_mark_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "LONGEST", 500)
    found = opened(write(tmp_path, table({5: '5,4,"Bonn'})))
    assert reasons(found) == ["a quotation mark that is not closed (line 7)"]


def test_types_are_told_by_all_values(tmp_path: Path) -> None:
    names = ["year", "price", "ok", "day", "at", "zip", "phone", "big", "mixed", "hole", "word"]
    rows = [
        ["2001", "1.50", "true", "2024-02-29", "2024-01-01 10:00", "00123", "+49", "9" * 25, "1", "", "a"],
        ["1999", "-2", "FALSE", "2023-01-01", "2024-01-01T10:00:01.5", "99999", "49", "1", "x", "5", "b"],
        ["2002", "1e3", "", "", "", "1", "1", "2", "2.5", "NA", ""],
    ]
    found = opened(write(tmp_path, "\n".join(",".join(row) for row in [names, *rows])))
    assert types(found) == {
        **{"year": "int64", "price": "double", "ok": "bool", "day": "date32[day]", "at": "timestamp[us]"},
        **dict.fromkeys(("zip", "phone", "big", "mixed"), "string"),
        **{"hole": "int64", "word": "string"},
    }
    first, second, third = (item.columns for item in found.items())
    assert list(first.values())[:5] == [2001, 1.5, True, datetime.date(2024, 2, 29), datetime.datetime(2024, 1, 1, 10)]
    assert first["zip"] == "00123"
    assert first["hole"] is None
    assert second["hole"] == 5
    assert third["hole"] is third["ok"] is third["word"] is None
    assert json.loads(next(iter(found.items())).read())["price"] == "1.50"
    assert next(iter(found.untyped())).columns["price"] == "1.50"


def test_numbers_have_decimal_commas_where_commas_part_no_cells(tmp_path: Path) -> None:
    rows = "".join(f"{i},5;1.{i:03},25;{i},{100 + i};1.{i:03}\n" for i in range(30))
    found = opened(write(tmp_path, "a;b;c;d\n" + rows))
    assert types(found) == {"a": "double", "b": "double", "c": "double", "d": "double"}
    assert next(iter(found.items())).columns == {"a": 0.5, "b": 1000.25, "c": 0.1, "d": 1.0}
    thousands = opened(write(tmp_path, 'a,b\n"1,234",1\n"2,500",2\n'))
    assert types(thousands)["a"] == "string"
    tabs = opened(write(tmp_path, "a\tb\n1,234\t1\n2,500\t2\n", "t.tsv"), "t.tsv")
    assert types(tabs)["a"] == "string"


def test_a_doubt_is_said_and_a_type_can_be_said(tmp_path: Path) -> None:
    rows = "".join(f"1{i:04},{i if i != 5 else '41 years'}\n" for i in range(100))
    folder = write(tmp_path, "zip,age\n" + rows)
    found = opened(folder)
    assert types(found) == {"zip": "int64", "age": "string"}
    assert found.notes == [
        "column 'age' is kept as text, because not all of its values are numbers: '41 years'; to have numbers, say "
        'types = { age = "number" } under [source]'
    ]
    said = opened(folder, types=(("age", "number"), ("zip", "text")))
    assert types(said) == {"zip": "string", "age": "int64"}
    assert [item.columns["age"] for item in said.items()][4:7] == [4, None, 6]
    assert said.notes == ["column 'age': 1 value not of its type left out, such as '41 years'"]
    with pytest.raises(SourceError, match="types: no column 'size'; there are: zip, age"):
        opened(folder, types=(("size", "number"),))


def test_numbers_with_signs_are_numbers_where_a_recipe_says_so(tmp_path: Path) -> None:
    write(tmp_path, 'share,price,n\n45%,"$1,234.50",1\n7%,$2,2\n')
    assert set(types(opened(tmp_path)).values()) == {"string", "int64"}
    found = opened(tmp_path, types=(("n", "number"), ("price", "number"), ("share", "number")))
    assert types(found) == {"share": "double", "price": "double", "n": "int64"}
    assert next(iter(found.items())).columns == {"share": 45.0, "price": 1234.5, "n": 1}


def test_bytes_are_no_table(tmp_path: Path) -> None:
    data = b"\x89\x01\x02" + bytes(range(1, 256)) * 20
    with pytest.raises(SourceError, match=r"t\.csv: not a CSV file: no text, or in an unknown encoding"):
        opened(write(tmp_path, data))


def test_labels_and_splits_stay_text(tmp_path: Path) -> None:
    found = opened(write(tmp_path, "a,class\n1,1.10\n2,2.0\n"), texts=frozenset({"class"}))
    assert [item.columns["class"] for item in found.items()] == ["1.10", "2.0"]


def test_files_share_their_types_and_columns(tmp_path: Path) -> None:
    write(tmp_path, "a,b\n1,x\n2,y\n", "1.csv")
    write(tmp_path, "a;c\n1,5;7\n2,5;8\n", "2.csv")
    write(tmp_path, '{"a": 3, "b": "z", "d": [1, 2], "e": {"f": 1}}\n', "3.jsonl")
    found = opened(tmp_path, ".")
    assert types(found) == {"a": "double", "b": "string", "c": "int64", "d": "string", "e": "string"}
    write(tmp_path, 'a,b\n"1,234",x\n"2,500",y\n', "1.csv")
    assert types(opened(tmp_path, "."))["a"] == "string"
    write(tmp_path, "a,b\n1,x\n2,y\n", "1.csv")
    (tmp_path / "2.csv").write_text("a,c\n1.5,7\n2.5,8\n", encoding="utf-8")
    found = opened(tmp_path, ".")
    assert types(found)["a"] == "double"
    last = list(found.items())[-1].columns
    assert last == {"a": 3.0, "b": "z", "c": None, "d": "[1, 2]", "e": '{"f": 1}'}


def test_a_file_without_the_column_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "text,n\nhello,1\n", "a.csv")
    write(tmp_path, "name,n\nx,1\n", "b.csv")
    found = opened(tmp_path, ".", used=["text"])
    assert [item.key for item in found.items()] == ["a.csv#0"]
    assert found.passed_over.first == {"no column 'text'": ["b.csv"]}
    with pytest.raises(SourceError, match=r"a\.csv: no column 'body'; it has: text, n"):
        opened(tmp_path, ".", used=["body"])


def test_json_keeps_its_own_types(tmp_path: Path) -> None:
    lines = [{"i": 1, "f": 1, "b": True, "s": "5", "m": 1}, {"i": 2, "f": 0.5, "b": None, "s": "x", "m": "y"}]
    write(tmp_path, "\n".join(map(json.dumps, lines)), "t.jsonl")
    write(tmp_path, json.dumps(lines, indent=1), "t.json")
    for name in ("t.jsonl", "t.json"):
        found = opened(tmp_path, name)
        assert types(found) == {"i": "int64", "f": "double", "b": "bool", "s": "string", "m": "string"}
        assert next(iter(found.items())).columns == {"i": 1, "f": 1.0, "b": True, "s": "5", "m": "1"}


@pytest.mark.parametrize("header", [None, False])
def test_a_first_row_is_not_lost(tmp_path: Path, header: bool | None) -> None:
    folder = write(tmp_path, "".join(f"{i * 0.37:.3f},{'xyz'[i % 3]}\n" for i in range(100)))
    if header is None:
        with pytest.raises(SourceError, match=r"the first line seems to be a row: 0\.000, x; say header = false"):
            opened(folder)
        assert len(list(opened(folder, header=True).items())) == 99
    else:
        items = list(opened(folder, header=False).items())
        assert (len(items), items[1].columns) == (100, {"column_0": 0.37, "column_1": "y"})


@pytest.mark.parametrize("form", ["data", "txt"])
def test_tables_of_other_names_are_told_by_content(tmp_path: Path, form: str) -> None:
    write(tmp_path, "".join(f"{i}\t{i * 0.5}\t{i % 3}\n" for i in range(60)), f"t.{form}")
    assert len(list(opened(tmp_path, f"t.{form}", header=False).items())) == 60
    write(tmp_path, "Some words of a document, and\nmore, in lines of, several commas\n" * 9, f"d.{form}")
    with pytest.raises(SourceError, match=r"no \.csv"):
        opened(tmp_path, f"d.{form}")


def test_a_backslash_before_a_quotation_mark_is_no_letter(tmp_path: Path) -> None:
    found = opened(write(tmp_path, "text,n\n" + "".join(f'"he said \\"hi\\" {i}, ok",{i}\n' for i in range(9))))
    assert [item.columns["text"] for item in found.items()] == [f'he said "hi" {i}, ok' for i in range(9)]
    rows = "".join(f"{i:5} {i * 0.5:8.2f}\n" for i in range(30))
    aligned = opened(write(tmp_path, rows, "t.data"), "t.data", header=False)
    assert [item.columns["column_1"] for item in aligned.items()] == [i * 0.5 for i in range(30)]


@pytest.mark.parametrize("header", [True, False])
def test_a_cell_is_found_again_as_the_recipe_reads_it(tmp_path: Path, header: bool) -> None:
    rows = [f"{i}|Größe; eins, zwei {i}" for i in range(20)]
    write(tmp_path, "\n".join(["n|text"] * header + rows).encode("iso8859_15"))
    used = "text" if header else "column_1"
    found = records.Records(
        Files.at("t.csv", tmp_path),
        lambda record: str(record[used]).encode(),
        used=[used],
        given=Given(header=header, delimiter="|", encoding="iso8859_15"),
    )
    items = list(found.items())
    assert [preview(tmp_path, item.place) for item in items] == [item.read() for item in items]
    assert items[7].read().decode() == "Größe; eins, zwei 7"


def test_an_encoding_is_said(tmp_path: Path) -> None:
    rows = "".join(f"{i},{['Köln', 'München'][i % 2]}\n" for i in range(50))
    found = opened(write(tmp_path, f"größe,ort\n{rows}".encode("cp1252")))
    assert next(iter(found.items())).columns == {"größe": 0, "ort": "Köln"}
    assert found.notes == ["1 file read as windows-1252; if that is wrong, say encoding = ... under [source]"]
    assert opened(tmp_path, encoding="cp1252").schema().names == ["größe", "ort"]
    assert opened(write(tmp_path, rows.encode("utf-16")), header=False).notes == []


def test_added_rows_take_known_types(tmp_path: Path) -> None:
    found = opened(write(tmp_path, "zip,n,empty,word\n123,1,,x\n456,2,,y\n"))
    known = pa.schema([("zip", pa.string()), ("n", pa.float64()), ("empty", pa.int64()), ("word", pa.int64())])
    found.keep_types(known)
    assert types(found) == {"zip": "string", "n": "double", "empty": "int64", "word": "string"}
    assert next(iter(found.items())).columns == {"zip": "123", "n": 1.0, "empty": None, "word": "x"}


def workbook(sheets: dict[str, list[list[object]]]) -> bytes:
    """Return an XLSX file."""
    kinds = "http://schemas.openxmlformats.org"
    numbers = range(1, len(sheets) + 1)
    names = "".join(f'<sheet name="{escape(name)}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(sheets, 1))
    kind = f'Type="{kinds}/officeDocument/2006/relationships'
    relations = "".join(f'<Relationship Id="r{n}" {kind}/worksheet" Target="worksheets/s{n}.xml"/>' for n in numbers)
    root = f'<Relationship Id="r1" {kind}/officeDocument" Target="xl/workbook.xml"/>'
    package = f'xmlns="{kinds}/package/2006/relationships"'
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as book:
        book.writestr("_rels/.rels", f"<Relationships {package}>{root}</Relationships>")
        book.writestr("xl/_rels/workbook.xml.rels", f"<Relationships {package}>{relations}</Relationships>")
        main = f'xmlns="{kinds}/spreadsheetml/2006/main" xmlns:r="{kinds}/officeDocument/2006/relationships"'
        book.writestr("xl/workbook.xml", f"<workbook {main}><sheets>{names}</sheets></workbook>")
        for n, rows in zip(numbers, sheets.values(), strict=True):
            body = "".join(f"<row>{''.join(map(_cell, row))}</row>" for row in rows)
            book.writestr(f"xl/worksheets/s{n}.xml", f"<worksheet {main}><sheetData>{body}</sheetData></worksheet>")
    return made.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, str):
        return f'<c t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    return "<c/>" if value is None else f"<c><v>{value}</v></c>"


def test_a_sheet_is_a_table(tmp_path: Path) -> None:
    rows: list[list[object]] = [["name", "size", "zip"], ["a", 1, "00123"], ["b", 2.5, "99999"], ["c", None, "1"]]
    write(tmp_path, workbook({"Items": rows, "Other": [["x"], [1], [2]]}), "t.xlsx")
    found = opened(tmp_path, "t.xlsx")
    assert types(found) == {"name": "string", "size": "double", "zip": "string"}
    assert [item.columns["size"] for item in found.items()] == [1.0, 2.5, None]
    assert found.notes[0] == "t.xlsx: sheet 'Items' is read; the others are not: Other"
    assert types(opened(tmp_path, "t.xlsx", sheet="Other")) == {"x": "int64"}
    with pytest.raises(SourceError, match="no sheet 'No'; it has: Items, Other"):
        opened(tmp_path, "t.xlsx", sheet="No")
    write(tmp_path, b"PK\x03\x04 no workbook", "bad.xlsx")
    with pytest.raises(SourceError, match=r"bad\.xlsx: not a readable workbook"):
        opened(tmp_path, "bad.xlsx")


CELLS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12),
    st.sampled_from(
        ["", "00123", "+49", "1.50", "1,5", "TRUE", "x\ny", 'says "hi"', "a;b", "a|b", "c,d", " e ", "NA", "€"]
    ),
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.dates().map(str),
)


@st.composite
def written(draw: st.DrawFn) -> tuple[list[list[str]], str, str, str, bool]:
    """Return rows, delimiter, end of lines, encoding, and whether all cells are quoted."""
    width = draw(st.integers(2, 4))
    rows = draw(st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=12))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le"]))
    return (
        rows,
        draw(st.sampled_from(",;\t|")),
        draw(st.sampled_from(["\n", "\r\n", "\r"])),
        encoding,
        draw(st.booleans()),
    )


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example(([["1,234", "x"], ["2,500", "y"]], ";", "\n", "utf-8", False))
@given(written())
def test_each_cell_is_kept_or_named(tmp_path: Path, case: tuple[list[list[str]], str, str, str, bool]) -> None:
    rows, delimiter, end, encoding, quoted = case
    names = [f"name {'abcd'[place]}" for place in range(len(rows[0]))]
    stream = io.StringIO()
    writer = csv.writer(
        stream,
        delimiter=delimiter,
        lineterminator=end,
        quoting=csv.QUOTE_ALL if quoted or end == "\r" else csv.QUOTE_MINIMAL,
    )
    writer.writerows([names, *rows])
    write(tmp_path, stream.getvalue().encode(encoding))
    found = opened(
        tmp_path, header=True, delimiter=delimiter, encoding="utf-16-le" if encoding == "utf-16-le" else None
    )
    texts = [list(item.columns.values()) for item in found.untyped()]
    assert texts == [[cell or None for cell in row] for row in rows]
    kinds = [field.type for field in found.schema()]
    for item, row in zip(found.items(), rows, strict=True):
        for value, cell, kind in zip(item.columns.values(), row, kinds, strict=True):
            check(item, value, cell, kind)


def check(item: Item, value: object, cell: str, kind: pa.DataType) -> None:
    """Check that a value is what its cell says: nothing is lost by the type of the column."""
    if value is None:
        assert cell.strip().lower() in {"", "na", "-", "?"}
    elif pa.types.is_string(kind):
        assert value == cell
    elif pa.types.is_floating(kind):
        assert value == float(cell.replace(".", "").replace(",", ".") if "," in cell else cell)
    else:
        assert str(value).lower() == cell.strip().lower(), item.key


WORDS = st.sampled_from(
    ["Köln", "Ulm", "a, b", "half; whole", "x | y", "says no", 'the "big" one', "two\nlines", "Zoë"]
)
COLUMNS = {
    "words": WORDS,
    "short": st.sampled_from(["red", "green", "blue"]),
    "whole": st.integers(-1000, 100_000).map(str),
    "parts": st.floats(-1e6, 1e6).map(lambda value: f"{value:.2f}"),
    "comma": st.floats(0, 1e6).map(lambda value: f"{value:.2f}".replace(".", ",")),
    "dates": st.dates().map(str),
    "codes": st.integers(0, 99_999).map(lambda value: f"{value:05}"),
    "holes": st.one_of(st.just(""), st.integers(0, 9).map(str)),
}


@st.composite
def unknown(draw: st.DrawFn) -> tuple[list[list[str]], str, str, str]:
    """Return rows with a header, the delimiter, the end of lines and the encoding."""
    names = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=2, max_size=6, unique=True))
    row = st.tuples(*(COLUMNS[name] for name in names)).map(list)
    rows = draw(st.lists(row, min_size=8, max_size=30))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
    return [names, *rows], draw(st.sampled_from(",;\t|")), draw(st.sampled_from(["\n", "\r\n"])), encoding


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(unknown())
def test_a_table_of_unknown_dialect_is_read(tmp_path: Path, case: tuple[list[list[str]], str, str, str]) -> None:
    (names, *rows), delimiter, end, encoding = case
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter, lineterminator=end).writerows([names, *rows])
    found = opened(write(tmp_path, stream.getvalue().encode(encoding)))
    assert found.schema().names == names
    texts = [list(item.columns.values()) for item in found.untyped()]
    assert texts == [[cell or None for cell in row] for row in rows if any(row) or len(row) > 1]


@pytest.mark.parametrize(
    ("held", "says"),
    [
        ({"data": [{"x": 1}, {"x": 2}], "n": 2}, r"the rows are in 'data'; `jq -c '\.\[\"data\"\]\[\]'` writes"),
        ({"x": [1, 2, 3], "y": [4, 5, 6]}, "a table by columns; pandas writes rows with to_json"),
        ({"x": {"0": 1, "1": 2}, "y": {"0": 3, "1": 4}}, "a table by columns"),
    ],
)
def test_a_table_in_one_object_is_no_row(tmp_path: Path, held: Any, says: str) -> None:
    (tmp_path / "t.json").write_text(json.dumps(held))
    with pytest.raises(SourceError, match=rf"t\.json: one JSON object, not one for each row: {says}"):
        open_table(tmp_path / "t.json", "t.json").survey()
    (tmp_path / "t.jsonl").write_text(json.dumps(held))
    assert set(open_table(tmp_path / "t.jsonl", "t.jsonl").names()) == set(held)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"a,b\n1,2\n", "it is text; if it is a table, name it .csv"),
        (b"<html><table><tr>", "it is a page of HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS"),
        (b"", "empty file"),
    ],
)
def test_what_only_has_the_name_of_a_workbook_is_named(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "t.xls").write_bytes(data)
    with pytest.raises(SourceError, match=f"t.xls: not a readable workbook: {says}"):
        open_table(tmp_path / "t.xls", "t.xls")


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.arrow", "t.npz", "t.sqlite"])
@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4, "it is a picture (PNG)"),
        (b"%PDF-1.7\n\xe2\xe3\xcf\xd3" + bytes(range(256)) * 4, "it is a document (PDF)"),
        (b"\x7fELF" + bytes(range(256)) * 4, "it is a program"),
    ],
)
def test_a_file_with_the_name_of_a_table_is_called_what_it_is(
    name: str, head: bytes, says: str, tmp_path: Path
) -> None:
    write(tmp_path, head, name)
    kind = "vectors" if name.endswith(".npz") else "table"
    made = {"name": "a", "source": {"kind": kind, "path": name}, "layers": [{"net": {"kind": "dense", "width": 8}}]}
    with pytest.raises(SourceError) as error:
        list(sources.resolve(recipe.parse(made, tmp_path / "a.toml")).items())
    assert says in str(error.value)
    assert "\n" not in str(error.value)
