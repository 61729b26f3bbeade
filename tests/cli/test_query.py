"""The verb query: what can be asked, and every form of the answer."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aepipe.cli.output import say_paths
from aepipe.codes.bitcodes import BitCodes
from aepipe.codes.encoder import cosines
from aepipe.errors import QueryError
from aepipe.release import query as queries
from aepipe.release.release import Release
from aepipe.report.hits import MEASURES
from aepipe.sources import file_at
from aepipe.store.artifacts import Store
from aepipe.store.segments import Row
from tests.cli.conftest import Aepipe
from tests.support.releases import pictures_of


def _lines(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def test_a_picture_of_the_collection_finds_itself(aepipe: Aepipe, boot: Path, row: Row) -> None:
    found = aepipe("query", boot, "-k", 3)
    assert found.exit_code == 0
    name, head, first, *others = found.stdout.splitlines()
    assert name == str(boot)
    assert head.split() == ["rank", "distance", "similarity", "cosine", "key", "label"]
    assert first.split() == ["1", "0", "1.000", "1.000", row.key, row.label]
    assert len([line for line in others if line]) == 2


def test_json_has_what_programs_need(aepipe: Aepipe, boot: Path, full_store: Store, row: Row) -> None:
    (line,) = _lines(aepipe("query", boot, "--json", "-k", 4).stdout)
    release = Release.open(full_store)
    assert set(line) == {"fingerprint", "query", "code", "strange", "hits"}
    assert line["fingerprint"] == release.fingerprint
    assert line["query"] == str(boot)
    assert line["code"] == release.codes_of([row.id]).hex()[0]
    hits = line["hits"]
    assert isinstance(hits, list)
    keys = {*MEASURES, "id", "key", "path", "label", "labels", "split", "snippet", "columns"}
    assert [set(hit) for hit in hits] == [keys] * 4
    assert [hit["rank"] for hit in hits] == [1, 2, 3, 4]
    first = {"rank": 1, "id": row.id, "distance": 0, "similarity": 1.0, "key": row.key, "label": row.label}
    assert {name: hits[0][name] for name in first} == first
    for hit in hits:
        assert hit["similarity"] == pytest.approx(1 - hit["distance"] / release.n_bits, abs=1e-4)


def test_one_question_in_five_forms(aepipe: Aepipe, boot: Path, full_store: Store, row: Row) -> None:
    code = Release.open(full_store).codes_of([row.id]).hex()[0]
    ways = [
        aepipe("query", boot, "--json", "--fast"),
        aepipe("query", "-", "--json", "--fast", stdin=boot.read_bytes()),
        aepipe("query", "--id", row.id, "--json", "--fast"),
        aepipe("query", "--key", row.key, "--json", "--fast"),
        aepipe("query", "--code", code.upper(), "--json", "--fast"),
        aepipe("query", "--code", code.upper(), "--json"),
    ]
    hits = [_lines(way.stdout)[0]["hits"] for way in ways]
    assert all(found == hits[0] for found in hits)
    reranked = [aepipe("query", *way, "--json").stdout for way in ((boot,), ("--id", row.id))]
    first = [_lines(way)[0]["hits"][0] for way in reranked]  # type: ignore[index]
    assert first[0] == first[1], "a file of the collection finds its row first"


def test_default_is_ten_and_a_radius_gives_all_within(aepipe: Aepipe, full_store: Store, row: Row) -> None:
    release = Release.open(full_store)
    distances = release.codes_of([row.id]).distances(release.codes_of(release.items.ids))[0]
    radius = int(np.sort(distances)[14])

    def found(*options: object) -> list[int]:
        (line,) = _lines(aepipe("query", "--id", row.id, "--json", "--fast", *options).stdout)
        assert isinstance(line["hits"], list)
        return [hit["distance"] for hit in line["hits"]]

    assert found() == sorted(distances)[:10]
    assert found("--radius", radius) == sorted(d for d in distances if d <= radius)
    assert found("--radius", radius, "--top", 2) == sorted(distances)[:2]
    assert found("--top", 999) == sorted(distances)


def test_the_first_bits_only(aepipe: Aepipe, boot: Path, full_store: Store, row: Row) -> None:
    release = Release.open(full_store)
    own, others = (release.codes_of(ids).prefix(20) for ids in ([row.id], release.items.ids))
    expected = sorted(own.distances(others)[0].tolist())
    ways = [("--id", row.id), ("--code", own.hex()[0]), (boot,)]
    for way in ways:
        (line,) = _lines(aepipe("query", *way, "--json", "--bits", 20, "-k", 30, "--fast").stdout)
        assert isinstance(line["hits"], list)
        assert [hit["distance"] for hit in line["hits"]] == expected[:30]
        assert [hit["similarity"] for hit in line["hits"]] == [round(1 - d / 20, 4) for d in expected[:30]]
    whole, all_bits = (aepipe("query", boot, "--json", *more).stdout for more in ((), ("--bits", 64)))
    assert whole == all_bits


def with_scores(monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change the scores that releases have."""
    known = Release.scores.func  # type: ignore[attr-defined]
    monkeypatch.setattr(Release, "scores", property(lambda release: change(known(release))))


def measured(scores: dict[str, Any]) -> dict[str, Any]:
    """Return scores as if 200 items had been held out."""
    falling = [round(1 - 0.01 * bits, 6) for bits in range(65)]
    curve = {"n_queries": 200, "distance": falling, "apart": [0.001, 0.5], "cosine": [0.95, 0.4]}
    few = {**curve, "n_queries": 99}
    found = {**scores["calibration"], "curves": {"items": curve, "items where": few}}
    return {**scores, "calibration": found, "protocol": {**scores["protocol"], "n_queries": 200}}


def test_confidence_is_that_of_the_cosine_and_of_the_distance_where_there_is_none(
    aepipe: Aepipe, boot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "confidence" not in aepipe("query", boot).stdout, "too few items were held out to tell"
    with_scores(monkeypatch, measured)
    (line,) = _lines(aepipe("query", boot, "--json").stdout)
    assert isinstance(line["hits"], list)
    assert line["strange"] is None
    for hit in line["hits"]:
        assert hit["confidence"] == (0.95 if hit["cosine"] > 0.999 else 0.4)
    assert {hit["confidence"] for hit in line["hits"]} == {0.95, 0.4}
    (fast,) = _lines(aepipe("query", boot, "--json", "--fast").stdout)
    assert isinstance(fast["hits"], list)
    assert all(hit["confidence"] == round(1 - 0.01 * hit["distance"], 6) for hit in fast["hits"])
    table = aepipe("query", boot)
    assert "confidence" in table.stdout
    assert "low confidence" not in table.stderr
    assert "confidence" not in aepipe("query", boot, "--bits", 20).stdout, "not measured for the first bits"


def test_a_low_confidence_is_explained_next_to_a_table(
    aepipe: Aepipe, boot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def low(scores: dict[str, Any]) -> dict[str, Any]:
        found = measured(scores)
        curve = {"n_queries": 200, "distance": [0.2] * 65, "apart": [0.5], "cosine": [0.2]}
        return {**found, "calibration": {**found["calibration"], "meaning": "neighbour", "curves": {"items": curve}}}

    with_scores(monkeypatch, low)
    said = aepipe("query", boot).stderr
    assert "low confidence: of rows as near to a question as these, less than half are among its nearest" in said
    assert "low confidence" not in aepipe("query", boot, "--json").stderr


def test_confidence_is_that_of_the_kind_of_question(
    aepipe: Aepipe, boot: Path, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_scores(monkeypatch, measured)
    (line,) = _lines(aepipe("query", boot, "--json", "--where", f"id >= {row.id - 5}").stdout)
    assert isinstance(line["hits"], list)
    assert {hit["confidence"] for hit in line["hits"]} == {None}, "99 questions under a condition are too few"
    found = aepipe("query", boot, "--min-confidence", 0.5, "--where", "id >= 0")
    assert found.exit_code == 2
    assert "under a condition" in found.stderr


def test_hits_have_at_least_the_confidence_asked_for(
    aepipe: Aepipe, boot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_scores(monkeypatch, measured)
    (some,) = _lines(aepipe("query", boot, "--json", "--min-confidence", 0.9).stdout)
    assert isinstance(some["hits"], list)
    assert some["hits"]
    assert all(hit["confidence"] >= 0.9 for hit in some["hits"])
    (fast,) = _lines(aepipe("query", boot, "--json", "--fast", "--min-confidence", 0.9).stdout)
    (ball,) = _lines(aepipe("query", boot, "--json", "--fast", "--radius", 10).stdout)
    assert fast["hits"] == ball["hits"]
    assert "can be 1.00 at most" not in aepipe("query", boot, "--min-confidence", 1.0).stderr


def test_a_question_unlike_the_collection_has_a_warning(aepipe: Aepipe, full_store: Store) -> None:
    release = Release.open(full_store)
    known = release.codes_of(release.items.ids)
    far = BitCodes.from_bits(1 - known[:1].unpack())
    nearest = int(far.distances(known).min())
    assert nearest > release.scores["calibration"]["usual"], "the complement of a code is like nothing here"
    found = aepipe("query", "--code", far.hex()[0], "--json")
    assert found.exit_code == 0
    assert f"nothing like it was learned: the nearest row is {nearest} bits away" in found.stderr
    (line,) = _lines(found.stdout)
    assert isinstance(line["strange"], str)
    assert line["hits"]


def test_hits_are_re_ranked_by_their_embeddings(aepipe: Aepipe, boot: Path, full_store: Store, row: Row) -> None:
    release = Release.open(full_store)
    factor = release.scores["reranking"]["factor"]
    ids = release.items.ids
    cosine = cosines(release.segments.embeddings_of(np.array([row.id]))[0], release.segments.embeddings_of(ids))
    distances = release.codes_of([row.id]).distances(release.codes_of(ids))[0]

    def expected(among: int, radius: int = 64) -> list[int]:
        """The first rows by (distance, id), in the order of their angles."""
        first = sorted(range(len(ids)), key=lambda i: (distances[i], ids[i]))[:among]
        near = [i for i in first if distances[i] <= radius]
        return [int(ids[i]) for i in sorted(near, key=lambda i: (-cosine[i], distances[i], ids[i]))]

    def found(*options: object) -> list[int]:
        (line,) = _lines(aepipe("query", *options, "--json").stdout)
        assert isinstance(line["hits"], list)
        assert [hit["rank"] for hit in line["hits"]] == list(range(1, len(line["hits"]) + 1))
        angles = [hit["cosine"] for hit in line["hits"]]
        assert angles == sorted(angles, reverse=True)
        return [hit["id"] for hit in line["hits"]]

    assert found("--id", row.id, "--rerank", "-k", 5) == expected(5 * factor)[:5]
    assert found("--id", row.id, "-k", 5) == expected(5 * factor)[:5], "it is the rule"
    assert found("--id", row.id, "--oversample", 3, "-k", 5) == expected(15)[:5]
    radius = int(np.sort(distances)[9])
    assert found("--id", row.id, "--oversample", 8, "-k", 5, "--radius", radius) == expected(40, radius)[:5]
    assert found("--id", row.id, "--radius", radius) == expected(len(ids), radius), "all within the radius"
    assert found(boot, "--oversample", 3, "-k", 5)[0] == row.id
    assert found("--key", row.key, "--oversample", 2, "--bits", 20, "-k", 3)[0] == row.id
    assert "cosine" in aepipe("query", boot).stdout
    assert "cosine" not in aepipe("query", boot, "--fast").stdout


def test_a_picture_that_cannot_be_rebuilt_is_answered_with_a_warning(
    aepipe: Aepipe, boot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blurred:
        """A decoder that was never so wrong."""

        def errors(self, items: np.ndarray, codes: BitCodes) -> np.ndarray:
            return np.full(len(items), 0.25, np.float32)

    monkeypatch.setattr(Release, "decoder", Blurred())
    assert aepipe("query", boot).stderr == "", "nothing was measured to compare with"

    def older(scores: dict[str, Any]) -> dict[str, Any]:
        """Return scores of a version that knew no figures of strangers."""
        found = {name: value for name, value in scores.items() if name != "strangers"}
        return {**found, "calibration": found["calibration"] | {"usual_error": 0.1}}

    with_scores(monkeypatch, older)
    said = aepipe("query", boot).stderr
    assert f"{boot}: nothing like it was learned: its code is off by 0.250 when it is decoded, not 0.100 at" in said
    monkeypatch.setattr(Blurred, "errors", lambda *_: np.full(1, 0.09, np.float32))
    assert aepipe("query", boot).stderr == ""


def test_paths_only_gives_paths_of_originals_and_keys_of_those_that_are_gone(
    aepipe: Aepipe, boot: Path, row: Row
) -> None:
    found = aepipe("query", "--id", row.id, "-k", 2, "--paths-only")
    assert found.stdout.splitlines()[0] == str(boot)
    assert all(Path(line).is_file() for line in found.stdout.splitlines())
    away = boot.with_suffix(".away")
    boot.rename(away)
    try:
        assert aepipe("query", "--id", row.id, "-k", 2, "--paths-only").stdout.splitlines()[0] == row.key
    finally:
        away.rename(boot)


def test_paths_only_gives_names_that_are_no_utf_8(boot: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(boot.with_name("odd")) + b"\xff.png"))
    shutil.copy(boot, odd)
    try:
        assert file_at(boot.parent, "odd\\xff.png") == str(odd)
        assert file_at(boot.parent, "none\\xff.png") is None
    finally:
        odd.unlink()


def test_nulls_part_paths_that_lines_would_not(aepipe: Aepipe, boot: Path, row: Row) -> None:
    asked = ("query", "--id", row.id, "-k", 2, "--paths-only")
    parted = aepipe(*asked, "--null")
    assert parted.stdout == aepipe(*asked, "-0").stdout
    assert parted.stdout.endswith("\0")
    assert parted.stdout.split("\0")[:-1] == aepipe(*asked).stdout.splitlines()
    assert parted.stdout.startswith(f"{boot}\0")
    assert "--paths-only --null | xargs -0 feh" in aepipe("query", "--help").stdout


def test_a_name_with_a_line_break_needs_nulls(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    names = ["two words.png", "two\nlines.png", "caf\udce9.png"]
    with pytest.raises(QueryError, match=r"'two\\nlines.png': a name with a line break; --null"):
        say_paths(names)
    say_paths(names, null=True)
    assert capfdbinary.readouterr().out == b"two words.png\0two\nlines.png\0caf\xe9.png\0"


def test_a_folder_is_all_its_images(aepipe: Aepipe, full_store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "asked" / "below"
    folder.mkdir(parents=True)
    source = pictures_of(full_store)
    rows = Release.open(full_store).describe([3, 7])
    for row in rows:
        (folder / f"{row.id}.png").write_bytes((source / row.key).read_bytes())
    (folder / "notes.txt").write_text("not an image")
    found = _lines(aepipe("query", "asked", "--json", "-k", 1).stdout)
    assert [line["query"] for line in found] == ["asked/below/3.png", "asked/below/7.png"]
    assert [line["hits"][0]["distance"] for line in found] == [0, 0]  # type: ignore[index]


def test_a_large_folder_is_answered_in_blocks(
    aepipe: Aepipe, full_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "AT_ONCE", 3)
    monkeypatch.setattr("aepipe.release.query.AT_ONCE", 7)
    found = _lines(aepipe("query", pictures_of(full_store), "--json", "-k", 1).stdout)
    assert len(found) == 40
    assert all(line["hits"][0]["distance"] == 0 for line in found)  # type: ignore[index]


def test_an_earlier_contact_sheet_in_the_asked_folder_is_overwritten_and_not_asked_with(
    aepipe: Aepipe, boot: Path, tmp_path: Path
) -> None:
    (tmp_path / "asked").mkdir()
    (tmp_path / "asked" / "boot.png").write_bytes(boot.read_bytes())
    first, second = (aepipe("query", "asked", "--picture", "asked/sheet.png", "-k", 2) for _ in range(2))
    assert first.exit_code == second.exit_code == 0, second.output
    assert first.stdout == second.stdout
    other = aepipe("query", "asked", "--picture", "asked/boot.png")
    assert other.exit_code == 2
    assert "asked with" in other.stderr


def test_words_out_of_a_pipe_are_no_picture(aepipe: Aepipe) -> None:
    found = aepipe("query", "-", stdin=b"a red boot\n")
    assert found.exit_code == 2
    assert found.stderr.startswith("aepipe: -: words, and no file; this collection is asked with files")


def test_unreadable_pictures_are_reported_and_the_others_answered(aepipe: Aepipe, boot: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(boot.read_bytes()[:60])
    (tmp_path / "empty.png").touch()
    found = aepipe("query", "gone.png", "torn.png", boot, "empty.png", "--json", "-k", 1)
    assert found.exit_code == 2
    assert [line["query"] for line in _lines(found.stdout)] == [str(boot)]
    complaints = found.stderr.splitlines()
    assert [line.split(": ")[:2] for line in complaints] == [
        ["aepipe", "gone.png"],
        ["aepipe", "torn.png"],
        ["aepipe", "empty.png"],
    ]


def test_a_picture_is_drawn(aepipe: Aepipe, boot: Path, tmp_path: Path) -> None:
    assert aepipe("query", boot, "--id", 2, "--picture", "hits.png", "-k", 4).exit_code == 0
    with Image.open(tmp_path / "hits.png") as sheet:
        assert sheet.width > 4 * 224
        assert sheet.height > 2 * 224
    aepipe("query", "--code", "0" * 16, "--picture", "code.jpg", "-k", 1)
    assert (tmp_path / "code.jpg").is_file(), "a code has no picture of its own, its hits have"


def test_thumbnails_are_drawn_only_where_they_are_asked_for_or_understood(aepipe: Aepipe, boot: Path) -> None:
    assert "\x1b" not in aepipe("query", boot).stdout
    assert "▀" in aepipe("query", boot, "--thumbnails").stdout
    assert "\x1b[38;2;" in aepipe("query", boot, "--thumbnails").stdout, "also into a pipe: they were asked for"
    assert "▀" not in aepipe("query", boot, "--thumbnails", "--json").stdout


def test_no_color(aepipe: Aepipe, boot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[2m" in aepipe("query", boot, color=True).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in aepipe("query", boot, color=True).stdout


def test_keys_cannot_steer_the_terminal(aepipe: Aepipe, boot: Path, tmp_path: Path) -> None:
    name = "a\x1b[31m\nb.png"
    (tmp_path / name).write_bytes(boot.read_bytes())
    found = aepipe("query", name, "-k", 1)
    assert found.stdout.splitlines()[0] == "a?[31m?b.png"
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(boot.read_bytes())
    assert aepipe("query", os.fsdecode(b"\xff.png"), "-k", 1).stdout.startswith("?.png")
    (line,) = _lines(aepipe("query", os.fsdecode(b"\xff.png"), "-k", 1, "--json").stdout)
    assert os.fsencode(str(line["query"])) == b"\xff.png"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing is asked: name files, folders or words, - for stdin, or give --id, --key or --code"),
        (["--id", 9999], "no row has the id 9999"),
        (["--id", "x"], "Invalid value for '--id'"),
        (["--key", "nope"], "no row has the key 'nope'"),
        (["--code", "ff"], "code 'ff' has 8 bits: 64 bits are 16 hex characters"),
        (["--code", "xyz"], "code 'xyz' is not hex"),
        (["--id", 0, "-k", 0], "Invalid value for '--top'"),
        (["--id", 0, "--radius", -1], "Invalid value for '--radius'"),
        (["--id", 0, "--json", "--paths-only"], "--json and --paths-only exclude each other"),
        (["--id", 0, "--null"], "--null parts the paths of --paths-only; give both"),
        (["--id", 0, "--name", "shoes"], "no release is in service under the name 'shoes'"),
        (["--id", 0, "--picture", "hits.txt"], "the picture cannot be written"),
        (["--id", 0, "--bits", 65], "its codes have 64 bits, not 65"),
        (
            ["--id", 0, "--bits", 20, "--min-confidence", 0.5],
            "it was not measured what distances of the first bits are",
        ),
        (["--id", 0, "--min-confidence", 1.5], "Invalid value for '--min-confidence'"),
        (["--id", 0, "--bits", 0], "Invalid value for '--bits'"),
        (["--code", "0" * 16, "--rerank"], "only items and rows have an embedding to re-rank hits by"),
        (["--id", 0, "--fast", "--rerank"], "--fast leaves hits in the order of their codes"),
        (["--id", 0, "--fast", "--oversample", 3], "--fast leaves hits in the order of their codes"),
        (["."], ".: no images in this folder"),
        (["--nonsense"], "No such option: --nonsense"),
        (["--row", '{"a": 1}'], "pictures was learned from images, so a row of a table is no question for it"),
        (["--id", 0, "--picture", "hits.svg"], "no format has that ending; name it like picture.png"),
    ],
)
def test_mistakes_are_one_line(aepipe: Aepipe, arguments: list[object], said: str) -> None:
    found = aepipe("query", *arguments)
    assert found.exit_code == 2
    (line,) = found.stderr.splitlines()
    assert line.startswith("aepipe: ")
    assert said in line


def test_only_rows_for_which_a_condition_holds(aepipe: Aepipe, boot: Path, row: Row) -> None:
    pytest.importorskip("duckdb", reason="needs the extra sql")
    found = aepipe("query", boot, "--json", "--where", f"label <> '{row.label}'", "-k", 5)
    assert {hit["label"] for hit in _lines(found.stdout)[0]["hits"]} - {row.label}  # type: ignore[attr-defined]
    assert row.label not in {hit["label"] for hit in _lines(found.stdout)[0]["hits"]}  # type: ignore[attr-defined]
    none = aepipe("query", boot, "--where", "id < 0")
    assert none.exit_code == 0
    assert "no row of pictures is one where id < 0" in none.stderr
    wrong = aepipe("query", boot, "--where", "colour = 'red'")
    assert wrong.exit_code == 2
    assert 'column "colour" not found' in wrong.stderr


def test_others_leaves_the_row_out_and_distinct_its_duplicates(aepipe: Aepipe, row: Row) -> None:
    found = _lines(aepipe("query", "--id", row.id, "--json", "--others", "--distinct").stdout)[0]["hits"]
    assert row.id not in [hit["id"] for hit in found]  # type: ignore[attr-defined]
    assert all("cosine" in hit for hit in found)  # type: ignore[attr-defined]


def test_no_verb_replaces_an_original(aepipe: Aepipe, boot: Path, row: Row, tmp_path: Path) -> None:
    (tmp_path / "asked.png").write_bytes(boot.read_bytes())
    (tmp_path / "some.toml").write_text("name = 'some'")
    before = boot.read_bytes()
    for arguments in (
        ("query", "--key", row.key, "--picture", boot),
        ("query", "asked.png", "--picture", "asked.png"),
        ("dedup", "--radius", 0, "--csv", "some.toml"),
        ("dedup", "--radius", 0, "--out", boot),
        ("dedup", "--radius", 0, "--picture", boot),
        ("show", "--page", "some.toml"),
        ("show", "--hits", boot),
        ("evaluate", "--picture", boot),
    ):
        found = aepipe(*arguments)
        assert found.exit_code == 2, arguments
        assert found.stderr.endswith("; name another one\n")
        assert len(found.stderr.splitlines()) == 1
    assert boot.read_bytes() == before == (tmp_path / "asked.png").read_bytes()
    assert (tmp_path / "some.toml").read_text() == "name = 'some'"
