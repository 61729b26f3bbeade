"""Files with holes: what is no hole comes back byte for byte, and targets are checked first."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from aepipe.errors import SourceError, StoreError
from aepipe.learn import impute_column
from aepipe.learn.impute import Estimate, Layout
from aepipe.learn.impute_column import Report
from aepipe.learn.impute_file import fill_file, target_of
from aepipe.sources.notation import is_missing

ROWS = 24
NOTHING = re.compile("no column can be learned from|no holes to fill")
"""Tables with nothing to do tell nothing."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Expect the first level of each column, without a network: these tests are about files."""

    def expected(frame: pd.DataFrame, layout: Layout, **_: object) -> Iterator[Estimate]:
        for column in layout.columns:
            if column.missing:
                values = np.array([column.levels[0]] * len(frame), object if column.kind == "category" else np.float64)
                yield Estimate(column.name, values, np.full(len(frame), 0.25))

    monkeypatch.setattr(impute_column, "estimate", expected)


def filled(folder: Path, data: bytes, name: str = "t.csv", **options: Any) -> tuple[bytes, Report]:
    """Return the bytes of a filled file, and the report."""
    (folder / name).write_bytes(data)
    target = target_of(folder / name)
    found = fill_file(folder / name, target, overwrite=True, steps=1, **options)
    return target.read_bytes(), found


def cells(text: str, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def lines(cell: Callable[[int], str], *, head: str = "a,b", end: str = "\n") -> bytes:
    return (head + end + "".join(f"{cell(i)}{end}" for i in range(ROWS))).encode()


def test_what_is_no_hole_is_written_as_it_was(tmp_path: Path) -> None:
    rows = [
        f'{i:05d},1.{i % 30:02d},{"TRUE" if i % 2 else "FALSE"},+4915{i % 7},{2**53 + i % 9},"{i % 5}"'
        for i in range(40)
    ]
    rows[3] = rows[3].replace("TRUE", "").replace('"3"', '""')
    rows[4] = rows[4].replace(str(2**53 + 4), "NA")
    out, found = filled(tmp_path, ("zip,v,flag,phone,n,q\n" + "\n".join(rows)).encode())
    before, after = cells("\n".join(["zip,v,flag,phone,n,q", *rows])), cells(out.decode())
    assert after[0] == ["zip", "v", "flag", "flag_uncertainty", "phone", "n", "n_uncertainty", "q", "q_uncertainty"]
    kept = [after[0].index(name) for name in before[0]]
    holes = {(4, 2), (4, 5), (5, 4)}
    for line, (old, new) in enumerate(zip(before, after, strict=True)):
        for column, place in enumerate(kept):
            assert (new[place] == old[column]) != ((line, column) in holes)
    assert found.holes == {"flag": 1, "n": 1, "q": 1}
    assert found.left_out == {"zip": "row numbers: they count from 0"}
    assert not out.endswith(b"\n")


@pytest.mark.usefixtures("quick")
class TestTexts:
    """Of CSV, only the holes change."""

    def test_a_delimiter_at_the_end_of_lines_shifts_nothing(self, tmp_path: Path) -> None:
        out, _ = filled(tmp_path, lines(lambda i: f"{'' if i % 10 == 0 else 30 + i},{70 + i % 5},"))
        assert out.splitlines()[:3] == [b"a,a_uncertainty,b", b"31,0.25,70,", b"31,0,71,"]

    @pytest.mark.parametrize("delimiter", [";", "\t", "|"])
    def test_delimiters_and_decimal_commas_stay(self, tmp_path: Path, delimiter: str) -> None:
        rows = lines(
            lambda i: f"{'' if i == 2 else f'{30 + i % 7},{i % 10}'}{delimiter}{i % 5},5", head=f"x{delimiter}y"
        )
        out, found = filled(tmp_path, rows)
        text = out.decode().splitlines()
        assert text[0] == delimiter.join(["x", "x_uncertainty", "y"])
        assert text[2] == delimiter.join(["31,1", "0", "1,5"])
        assert text[3] == delimiter.join(["30", "0,25", "2,5"])
        assert any("decimal commas" in note for note in found.notes)

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
    def test_line_ends_and_encodings_stay(self, tmp_path: Path, end: str, encoding: str) -> None:
        text = lines(lambda i: f"{'Köln' if i % 2 else 'Düsseldorf für' if i else ''},{i % 3}", end=end).decode()
        out, found = filled(tmp_path, text.encode(encoding))
        assert found.holes == {"a": 1}
        expected = text.encode(encoding).split(",0".encode(encoding.replace("utf-16", "utf-16-le")))
        assert out.startswith(expected[0][:2])
        back = out.decode(encoding)
        assert back.count(end) == text.count(end)
        assert [line.split(",")[2] for line in back.split(end)[1:-1]] == [str(i % 3) for i in range(ROWS)]

    def test_a_hole_within_quotation_marks_is_filled_within_them(self, tmp_path: Path) -> None:
        out, _ = filled(tmp_path, lines(lambda i: f'"{"" if i == 1 else "x, y" if i % 2 else "z"}",{i % 4}'))
        assert out.splitlines()[2] in {b'"x, y",0.25,1', b'"z",0.25,1'}

    def test_a_word_with_a_delimiter_is_quoted_where_it_fills_a_hole(self, tmp_path: Path) -> None:
        word = '"a ""b"", c"'
        out, _ = filled(tmp_path, lines(lambda i: f"{'' if i == 1 else word},{i % 4}"))
        assert out.splitlines()[2] == b'"a ""b"", c",0.25,1'

    def test_numbers_fill_holes_as_the_others_are_written(self, tmp_path: Path) -> None:
        out, _ = filled(
            tmp_path,
            lines(
                lambda i: ",," if i == 1 else f"${i + 3}.50,{i + 20} %,2024-03-{i + 1:02d}",
                head="price,share,day",
            ),
        )
        assert out.splitlines()[2] == b"$3.5,0.25,20 %,0.25,2024-03-01,0.25"

    def test_a_word_among_numbers_stays_and_is_named(self, tmp_path: Path) -> None:
        ages = ["" if i == 1 else "41 years" if i == 17 else str(20 + i / 8) for i in range(60)]
        data = ("a,b\n" + "".join(f"{age},{i % 4}\n" for i, age in enumerate(ages))).encode()
        out, found = filled(tmp_path, data)
        assert out.splitlines()[18] == b"41 years,0,1"
        assert "column 'a': 1 of 59 values are no numbers, missing: '41 years' (line 19)" in found.notes
        assert found.holes == {"a": 1}

    def test_a_column_that_may_be_numbers_or_texts_stays(self, tmp_path: Path) -> None:
        data = (
            "a,b\n"
            + "".join(f"{'' if i == 1 else f'about {i}' if i % 10 == 5 else i * 7},{i % 4 or ''}\n" for i in range(90))
        ).encode()
        out, found = filled(tmp_path, data)
        assert "80 of 89 values are numbers, others are not: 'about 5' (line 7)" in found.left_out["a"]
        assert out.splitlines()[2] == b",1,0"

    def test_a_row_that_ends_early_is_filled_to_its_end(self, tmp_path: Path) -> None:
        out, _ = filled(tmp_path, lines(lambda i: "1,2" if i == 3 else f"{i % 3},{i % 4},{i % 5}", head="a,b,c"))
        assert out.splitlines()[4] == b"1,2,0,0.25"

    def test_words_for_no_value_are_said(self, tmp_path: Path) -> None:
        _, found = filled(tmp_path, lines(lambda i: f"{'None' if i % 8 == 0 else i % 3},{i % 4}"))
        assert found.notes == ["column 'a': taken for holes: 'None' (3)"]

    def test_lines_before_the_header_and_empty_ones_stay(self, tmp_path: Path) -> None:
        data = b"# from a lab\n" + lines(lambda i: f"{i % 3 or ''},{i % 4}") + b"\n\n"
        out, found = filled(tmp_path, data)
        assert out.startswith(b"# from a lab\na,a_uncertainty,b\n")
        assert out.endswith(b"\n\n\n")
        assert found.rows == ROWS

    def test_a_table_without_names_gets_none(self, tmp_path: Path) -> None:
        data = lines(lambda i: f"{i % 3 or ''},{i % 4}").split(b"\n", 1)[1]
        with pytest.raises(
            SourceError, match=r"the first line seems to be a row, and not names of columns: .* --no-header"
        ):
            filled(tmp_path, data)
        out, found = filled(tmp_path, data, header=False)
        assert out.splitlines()[1] == b"1,0,1"
        assert list(found.holes) == ["column_0"]

    def test_gzipped_files_stay_gzipped(self, tmp_path: Path) -> None:
        out, _ = filled(tmp_path, gzip.compress(lines(lambda i: f"{i % 3 or ''},{i % 4}")), "t.csv.gz")
        assert (tmp_path / "t-filled.csv.gz").exists()
        assert gzip.decompress(out).splitlines()[2] == b"1,0,1"

    def test_bytes_that_no_encoding_explains_stay(self, tmp_path: Path) -> None:
        out, _ = filled(tmp_path, lines(lambda i: f"{i % 3 or ''},x").replace(b"1,x", b"1,\x81\xe9\xff"))
        assert b"1,0,\x81\xe9\xff\n" in out

    @pytest.mark.parametrize(
        ("data", "says"),
        [
            (
                lines(lambda i: "1,2,3" if i == 7 else f"{i % 3 or ''},{i % 4}"),
                "line 9 has 3 cells, and the header 2; mend",
            ),
            (
                lines(lambda i: 'x,"2' if i == 20 else f"{i % 3 or ''},{i % 4}"),
                "line 22: a quotation mark is not closed",
            ),
            (lines(lambda i: f"{i % 3},{i % 4}"), "there are no holes to fill, and nothing is written"),
            (b"a,b\n1,\n", "1 rows are too few to learn from: at least 20 are needed"),
            (b"a,b\x00\n1,\n", "cannot be read as a table: not text: it has zero bytes"),
            (
                lines(lambda i: "Source: a lab" if i == 23 else f"{i % 3 or ''},{i},1", head="a,b,c"),
                "line 25 has 1 cell, and",
            ),
        ],
    )
    def test_what_cannot_be_filled_is_refused_in_one_line(self, tmp_path: Path, data: bytes, says: str) -> None:
        with pytest.raises(SourceError, match=says):
            filled(tmp_path, data)
        assert not (tmp_path / "t-filled.csv").exists()


class TestTargets:
    """A target is checked before anything is read."""

    def test_a_name_is_made_of_the_whole_name(self) -> None:
        names = ["a/t.csv", "a/t.v1.csv", "a/t.v2.csv", "t.csv.gz", "t.parquet", "t"]
        found = [str(target_of(Path(name))) for name in names]
        assert found == [
            *("a/t-filled.csv", "a/t.v1-filled.csv", "a/t.v2-filled.csv"),
            *("t-filled.csv.gz", "t-filled.parquet", "t-filled"),
        ]

    @pytest.mark.parametrize(
        ("target", "says"),
        [
            ("no/t.csv", "there is no folder"),
            ("folder.csv", "is a folder; name a file in it"),
            ("there.csv", "is there already; say --overwrite"),
            ("t.xlsx", "not a table that can be written; allowed: .csv"),
        ],
    )
    def test_a_target_is_refused_before_anything_is_read(self, tmp_path: Path, target: str, says: str) -> None:
        (tmp_path / "t.csv").write_bytes(b"not,a\ntable")
        (tmp_path / "folder.csv").mkdir()
        (tmp_path / "there.csv").write_bytes(b"mine")
        with pytest.raises((SourceError, StoreError), match=says):
            fill_file(tmp_path / "t.csv", tmp_path / target)
        assert (tmp_path / "there.csv").read_bytes() == b"mine"

    def test_the_table_itself_is_never_overwritten(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_bytes(b"a\n1\n")
        (tmp_path / "link.csv").symlink_to(tmp_path / "t.csv")
        for target in ("t.csv", "link.csv"):
            with pytest.raises(SourceError, match="is the table itself; name another file with --out"):
                fill_file(tmp_path / "t.csv", tmp_path / target, overwrite=True)

    def test_a_source_that_is_no_table_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"table\.xlsx: not a table that can be read; allowed: \.csv"):
            fill_file(tmp_path / "table.xlsx", tmp_path / "o.csv")
        with pytest.raises(SourceError, match=r"none\.csv: no such file"):
            fill_file(tmp_path / "none.csv", tmp_path / "o.csv")
        (tmp_path / "bad.parquet").write_bytes(b"PAR1 no parquet")
        with pytest.raises(SourceError, match=r"bad\.parquet: cannot be read as a table"):
            fill_file(tmp_path / "bad.parquet", tmp_path / "o.parquet")


TYPED: dict[str, tuple[pa.DataType, list[Any]]] = {
    "whole": (pa.int16(), [i * 3 % 11 for i in range(ROWS)]),
    "large": (pa.int64(), [2**60 + i * 7 % 5 for i in range(ROWS)]),
    "real": (pa.float32(), [i % 7 / 3 for i in range(ROWS)]),
    "money": (pa.decimal128(9, 2), [Decimal(i % 9) / 4 for i in range(ROWS)]),
    "day": (pa.date32(), [date(2024, 1, 1) + timedelta(i % 5) for i in range(ROWS)]),
    "moment": (pa.timestamp("us", "UTC"), [datetime(2024, 1, 1, i % 5) for i in range(ROWS)]),
    "clock": (pa.time32("s"), [datetime(2024, 1, 1, i % 5).time() for i in range(ROWS)]),
    "flag": (pa.bool_(), [i % 3 == 0 for i in range(ROWS)]),
    "word": (pa.large_string(), ["ab"[i % 2] for i in range(ROWS)]),
    "price": (pa.string(), [f"{i % 5 + 1},{i % 4}5 €" for i in range(ROWS)]),
    "view": (pa.string_view(), ["ab"[i % 2] for i in range(ROWS)]),
    "half": (pa.float16(), [i % 7 / 2 for i in range(ROWS)]),
    "span": (pa.duration("ms"), [timedelta(seconds=i % 5) for i in range(ROWS)]),
    "level": (pa.dictionary(pa.int8(), pa.string()), [("low", "high", "mid")[i % 3] for i in range(ROWS)]),
    "list": (pa.list_(pa.int8()), [[i] for i in range(ROWS)]),
}  # fmt: skip


@pytest.mark.usefixtures("quick")
class TestParquet:
    """Columns keep their types."""

    @pytest.mark.parametrize("name", [name for name in TYPED if name != "list"])
    def test_columns_keep_their_types_and_values(self, tmp_path: Path, name: str) -> None:
        kind, values = TYPED[name]
        holes = [None if i in {3, 20} else value for i, value in enumerate(values)]
        table = pa.table([pa.array(holes, kind), pa.array([i % 2 for i in range(ROWS)])], names=[name, "other"])
        pq.write_table(table, tmp_path / "t.parquet", row_group_size=10)
        table = pq.read_table(tmp_path / "t.parquet")
        _, found = filled(tmp_path, (tmp_path / "t.parquet").read_bytes(), "t.parquet")
        done = pq.read_table(tmp_path / "t-filled.parquet")
        assert done.column_names == [name, f"{name}_uncertainty", "other"]
        assert done.schema.field(name) == table.schema.field(name)
        assert done.column(name).null_count == 0
        before, after = table.column(name).to_pylist(), done.column(name).to_pylist()
        assert [i for i in range(ROWS) if before[i] != after[i]] == [3, 20]
        assert done.column("other").equals(table.column("other"))
        assert found.holes == {name: 2}
        spread = done.column(f"{name}_uncertainty").to_pylist()
        assert [i for i, value in enumerate(spread) if value] == [3, 20]

    def test_the_index_of_pandas_stays(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"x": [None if i == 2 else i % 3 for i in range(ROWS)], "y": range(ROWS)})
        frame.index = pd.Index([f"id{i * 7 % ROWS}" for i in range(ROWS)], name="who")
        frame.to_parquet(tmp_path / "t.parquet", compression="zstd")
        _, found = filled(tmp_path, (tmp_path / "t.parquet").read_bytes(), "t.parquet")
        done = pd.read_parquet(tmp_path / "t-filled.parquet")
        assert list(done.columns) == ["x", "x_uncertainty", "y"]
        pd.testing.assert_index_equal(done.index, frame.index)
        pd.testing.assert_series_equal(done["y"], frame["y"])
        assert found.left_out == {"y": "row numbers: they count from 0", "who": "the index of its rows"}
        group = pq.ParquetFile(tmp_path / "t-filled.parquet").metadata.row_group(0)
        assert group.column(0).compression == "ZSTD"

    def test_columns_of_lists_and_infinite_numbers_stay(self, tmp_path: Path) -> None:
        table = pa.table(
            {
                "list": pa.array(TYPED["list"][1], TYPED["list"][0]),
                "far": pa.array([np.inf if i == 1 else np.nan if i == 2 else i % 4 for i in range(ROWS)]),
            }
        )
        pq.write_table(table, tmp_path / "t.parquet")
        _, found = filled(tmp_path, (tmp_path / "t.parquet").read_bytes(), "t.parquet")
        done = pq.read_table(tmp_path / "t-filled.parquet")
        assert done.column("list").equals(table.column("list"))
        assert done.column("far").to_pylist()[:3] == [0.0, np.inf, 0.0]
        assert found.left_out == {"list": "of the type list<element: int8>"}
        assert found.notes == ["column 'far': 1 infinite values, left as they are"]

    def test_one_format_becomes_the_other(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_bytes(
            lines(lambda i: f"{i:03d},{i % 5},{i % 4 or ''},{i % 3 + 0.5}", head="id,n,h,x")
        )
        fill_file(tmp_path / "t.csv", tmp_path / "o.parquet")
        table = pq.read_table(tmp_path / "o.parquet")
        assert [str(kind) for kind in table.schema.types] == ["string", "int64", "double", "double", "double"]
        assert table.column("id").to_pylist()[:2] == ["000", "001"]
        holes = table.set_column(1, "n", pa.array([None if i == 2 else i % 5 for i in range(ROWS)]))
        pq.write_table(holes, tmp_path / "h.parquet")
        fill_file(tmp_path / "h.parquet", tmp_path / "o.csv")
        assert (tmp_path / "o.csv").read_text().splitlines()[:2] == [
            "id,n,n_uncertainty,h,h_uncertainty,x",
            "000,0,0.0,1.0,0.25,0.5",
        ]


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)
VALUES = st.one_of(
    st.integers(-(10**18), 10**18).map(str),
    st.integers(0, 99999).map(lambda n: f"{n:05d}"),
    st.floats(-1e6, 1e6).map(lambda x: f"{x:.2f}"),
    st.sampled_from(
        ["TRUE", "FALSE", "+49", "1.10", "1,234.50", "1.234,5", "$12.50", "45%", "inf", "(12)", "2024-02-29"]
    ),
    WORDS,
    st.sampled_from(['a "b"', "two\nlines", "a, b; c | d", "  spaces  ", "\ttab", '"', "''", "-", "#N/A"]),
)


def _quoted(text: str, delimiter: str, always: bool) -> str:
    needed = always or any(letter in text for letter in (delimiter, '"', "\r", "\n"))
    return '"' + text.replace('"', '""') + '"' if needed else text


@st.composite
def texts(draw: st.DrawFn) -> tuple[bytes, str, str, list[list[str]], list[str]]:
    """Return the bytes of a CSV, its encoding, its delimiter, its cells and the names of its columns."""
    width = draw(st.integers(2, 4))
    delimiter = draw(st.sampled_from(",;\t|"))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
    always = draw(st.booleans())
    choices = [draw(st.lists(VALUES, min_size=1, max_size=5)) for _ in range(width)]
    random = draw(st.randoms(use_true_random=False))
    rows = [[random.choice([*some, "", "?"]) for some in choices] for _ in range(ROWS)]
    names = [f"name {place}" for place in range(width)]
    more = delimiter if draw(st.booleans()) else ""  # at the end of each row
    lines = [delimiter.join(_quoted(cell, delimiter, always) for cell in row) for row in [names, *rows]]
    text = end.join([lines[0], *(line + more for line in lines[1:]), ""])
    return (text if draw(st.booleans()) else text.removesuffix(end)).encode(encoding), encoding, delimiter, rows, names


@pytest.mark.usefixtures("quick")
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(texts())
def test_any_text_comes_back_with_its_values_unchanged(tmp_path: Path, drawn: Any) -> None:
    data, encoding, delimiter, rows, names = drawn
    try:
        out, found = filled(tmp_path, data, header=True)
    except SourceError as error:
        assume(not NOTHING.search(str(error)))
        raise
    after = cells(out.decode(encoding), delimiter)
    kept = [after[0].index(name) for name in names]
    assert len(after) == len(rows) + 1
    for old, new in zip(rows, after[1:], strict=True):
        assert not any(new[len(after[0]) :])
        for name, value, place in zip(names, old, kept, strict=True):
            if not is_missing(value) or name not in found.holes:
                assert new[place] == value
            else:
                assert not is_missing(new[place])
    assert sum(found.holes.values()) == sum(
        is_missing(value) for old in rows for name, value in zip(names, old, strict=True) if name in found.holes
    )


KINDS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int8(): st.integers(-128, 127),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.string(): WORDS,
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(),
    pa.timestamp("ms"): st.datetimes(),
    pa.decimal128(12, 3): st.decimals(-999, 999, places=3),
    pa.list_(pa.int8()): st.lists(st.integers(0, 9), max_size=2),
    pa.binary(): st.binary(max_size=3),
}


@pytest.mark.usefixtures("quick")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_any_parquet_comes_back_with_its_values_unchanged(tmp_path: Path, data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=4))
    arrays = [
        pa.array(data.draw(st.lists(st.none() | KINDS[kind], min_size=ROWS, max_size=ROWS)), kind) for kind in kinds
    ]
    table = pa.table(arrays, names=[f"c{place}" for place in range(len(kinds))])
    table = table.replace_schema_metadata({"who": "me"})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=data.draw(st.sampled_from([7, 100])))
    table = pq.read_table(tmp_path / "t.parquet")
    try:
        found = fill_file(tmp_path / "t.parquet", tmp_path / "o.parquet", overwrite=True)
    except SourceError as error:
        assume(not NOTHING.search(str(error)))
        raise
    done = pq.read_table(tmp_path / "o.parquet")
    assert done.schema.metadata[b"who"] == b"me"
    for name, old in zip(table.column_names, table.columns, strict=True):
        new = done.column(name)
        assert new.type == old.type
        present = np.flatnonzero(old.is_valid().to_numpy())
        assert new.take(pa.array(present)).equals(old.take(pa.array(present)))
        assert new.null_count == (0 if name in found.holes else old.null_count)


def test_a_pointer_of_lfs_is_no_table_of_two_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n")
    with pytest.raises(SourceError, match=r"t\.csv: a pointer of Git LFS"):
        fill_file(tmp_path / "t.csv", tmp_path / "u.csv")
