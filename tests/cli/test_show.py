"""The verbs show and evaluate: what is said of a release, and scores measured again."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageColor

from aepipe import api
from aepipe.cli import run
from aepipe.index.hamming import RowIndex
from aepipe.pipeline.intake import quarantine_file
from aepipe.release.release import Release
from aepipe.report import facts
from aepipe.report.facts import scores_text
from aepipe.runs import UpdateResult
from aepipe.store.artifacts import Ref, Store
from aepipe.store.rows import Rejected
from tests.cli.conftest import Aepipe
from tests.support.releases import make_release, pictures_of

FIELDS = {
    "name", "release", "in_service", "promoted", "created", "rows", "changes", "distinct_codes", "n_bits", "index",
    "shards", "fingerprint", "aligned", "layers", "source", "backbone", "words", "read", "scores", "pretraining",
    "path",
}  # fmt: skip


def _twin(store: Store, ref: Ref, **changes: Any) -> Ref:
    """Put a copy of a release with another recipe in the store."""
    body = facts.card_of(store, ref)
    body = {**body, "recipe": {**body["recipe"], **changes}}
    with store.draft("release") as draft:
        (draft.path / "release.json").write_text(json.dumps(body))
        return draft.finish(body)


def test_show_says_what_is_in_service(aepipe: Aepipe, full_store: Store) -> None:
    release = Release.open(full_store)
    text = aepipe("show").stdout
    folder = str(full_store.path(release.ref))
    for wanted in (
        "pictures", f"{release.ref.short}, in service since", "40 in the index (flat)", "64 bits, fingerprint",
        "made by a test", "dense > 64 bits", folder, "map_at_1000", "recall_at_10", "bits live",
    ):  # fmt: skip
        assert wanted in text, text


def test_show_as_json(aepipe: Aepipe, full_store: Store) -> None:
    (found,) = json.loads(aepipe("show", "--json").stdout)
    release = Release.open(full_store)
    assert set(found) == FIELDS
    assert found["release"] == release.ref.digest
    assert found["fingerprint"] == release.fingerprint
    assert isinstance(release.index, RowIndex)
    assert found["distinct_codes"] == release.index.n_codes
    assert found["scores"] == release.scores
    assert found["in_service"]


def test_show_all_names_or_one(aepipe: Aepipe, own_store: tuple[Store, Ref]) -> None:
    store, _ = own_store
    make_release(store, n=20, name="shoes", seed=1)
    late = make_release(store, n=20, seed=2, promote=False)
    assert [one["name"] for one in json.loads(aepipe("show", "--json", home=store).stdout)] == ["pictures", "shoes"]
    (one,) = json.loads(aepipe("show", "--json", "--name", "shoes", home=store).stdout)
    assert one["name"] == "shoes"
    (one,) = json.loads(aepipe("show", "--json", late.digest[:9], home=store).stdout)
    assert (one["release"], one["in_service"], one["promoted"]) == (late.digest, False, None)
    assert "not in service" in aepipe("show", late.digest[:9], home=store).stdout
    assert "choose one with --name: pictures, shoes" in aepipe("query", "--id", 0, home=store).stderr


def test_the_gain_by_pretraining(aepipe: Aepipe, own_store: tuple[Store, Ref]) -> None:
    store, ref = own_store
    assert json.loads(aepipe("show", "--json", home=store).stdout)[0]["pretraining"] is None
    _twin(store, ref, pretrain=False, seed=99)
    assert facts.describe(store, ref)["pretraining"] is None, "another seed is another recipe"
    control = _twin(store, ref, pretrain=False)
    worth = facts.describe(store, ref)["pretraining"]
    assert worth["compared_with"] == control.digest
    assert worth["metric"] == "map_at_1000"
    assert worth["with"] == worth["without"], "the copy has the same scores"
    assert "pretraining: map_at_1000" in aepipe("show", home=store).stdout
    other = facts.describe(store, control)["pretraining"]
    assert other["compared_with"] == ref.digest, "seen from the other side it is the same comparison"


def test_what_was_not_read_is_said_and_listed(
    aepipe: Aepipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "store")
    folder = pictures_of(store) / "train"
    (folder / "@eaDir").mkdir(parents=True)
    for name in ("notes.txt", "@eaDir/1.jpg", ".hidden.png"):
        (folder / name).write_text("?")
    (folder / "link.png").symlink_to("class0/0.png")
    ref = make_release(store, n=40)
    (read,) = [one["read"] for one in json.loads(aepipe("show", "--json", home=store).stdout)]
    assert read["files"] == 40
    assert read["skipped"] == len(read["passed_over"]) == 4
    assert read["unreadable"] == []
    text = aepipe("show", home=store).stdout
    for wanted in ("passed over", "1 x not a picture (train/notes.txt)", "1 x hidden (train/.hidden.png)"):
        assert wanted in text, text
    assert f"`aepipe show --quarantine`, or {store.root}/quarantine-pictures.parquet" in text
    table = aepipe("show", "--quarantine", home=store).stdout
    assert table.splitlines()[0].split() == ["collection", "what", "reason", "name"]
    assert re.search(r"pictures +passed over +left out by exclude +train/@eaDir/1\.jpg", table)
    listed = json.loads(aepipe("show", "--quarantine", "--json", home=store).stdout)
    assert {(one["place"], one["what"], one["count"]) for one in listed} == {
        (f"train/{name}", "passed over", 1) for name in ("notes.txt", "@eaDir/1.jpg", ".hidden.png", "link.png")
    }
    run._say_result(UpdateResult(api.open(store.root), True, ()), ": refreshed")
    said = capsys.readouterr().out
    assert said.startswith(f"pictures: release {ref.short} is in service: refreshed\n")
    assert "1 x not a picture (train/notes.txt)" in said
    (store.root / "reading-pictures.json").unlink()
    assert json.loads(aepipe("show", "--json", ref.digest[:12], home=store).stdout)[0]["read"]["skipped"] == 4


def test_what_a_failed_run_did_not_read_is_listed(aepipe: Aepipe, own_store: tuple[Store, Ref], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    empty, (full, _) = Store(tmp_path / "empty"), own_store
    assert "no release is in service" in aepipe("show", "--quarantine", home=empty).stderr
    for store in (empty, full):
        quarantine_file(store, "scans", [Rejected("a.png", "a.png", "truncated")])
        for more in ([], ["--name", "scans"]):
            assert re.search(
                r"scans +unreadable +truncated +a\.png", aepipe("show", "--quarantine", *more, home=store).stdout
            )
    aepipe("show", "--quarantine", "--hits", tmp_path / "h.png", "--name", "pictures", home=full)
    assert (tmp_path / "h.png").exists()


def test_a_store_of_an_earlier_version_says_what_it_knows(aepipe: Aepipe, own_store: tuple[Store, Ref]) -> None:
    store, _ = own_store
    (store.root / "reading-pictures.json").write_text("torn")
    assert json.loads(aepipe("show", "--json", home=store).stdout)[0]["read"]["files"] == 40
    assert aepipe("show", "--quarantine", home=store).stdout == "everything was read\n"
    (store.root / "reading-pictures.json").write_text("[]")
    assert aepipe("show", home=store).exit_code == 0
    next((store.root / "rows").glob("*/quarantine.parquet")).write_bytes(b"torn")
    torn = aepipe("show", "--quarantine", home=store)
    assert torn.exit_code == 3
    assert "quarantine.parquet: corrupt, not readable" in torn.stderr
    shutil.rmtree(store.root / "rows")
    assert json.loads(aepipe("show", "--json", home=store).stdout)[0]["read"] == {}


def test_layers_are_named_in_a_few_words() -> None:
    recipe = {
        "layers": [
            {"net": {"kind": "dense", "options": {"width": 512, "activation": "relu"}}},
            {"net": {"kind": "conv", "options": {"channels": [16, 32]}}},
        ],
        "code": {"bits": 32},
    }
    assert facts.layer_names(recipe) == ["dense 512 relu", "conv 16 32", "32 bits"]


@pytest.mark.parametrize("verb", ["evaluate", "show", "verify"])
def test_a_collection_may_stand_for_its_release(aepipe: Aepipe, verb: str) -> None:
    assert aepipe(verb, "pictures").stdout == aepipe(verb).stdout
    unknown = aepipe(verb, "boots")
    assert unknown.exit_code == 2
    assert "no release starts with 'boots'" in unknown.stderr


def test_evaluate_prints_the_scores(aepipe: Aepipe, full_store: Store) -> None:
    text = aepipe("evaluate").stdout
    assert "map_at_1000" in text
    assert "pca-sign" not in text or "ours" in text
    assert json.loads(aepipe("evaluate", "--json").stdout) == Release.open(full_store).scores


def test_evaluate_again_measures_and_leaves_no_trace(aepipe: Aepipe, full_store: Store) -> None:
    pytest.importorskip("pyarrow")
    before = sorted(path.relative_to(full_store.root) for path in full_store.root.rglob("*"))
    again = json.loads(aepipe("evaluate", "--again", "--json").stdout)
    assert again["protocol"]["n_database"] == 32, "by the recipe's own protocol: the test split asks the train split"
    assert again["protocol"]["n_queries"] == 8
    text = aepipe("evaluate", "--again").stdout
    assert scores_text(again) in text, "the same figures, measured once more"
    assert "figures DIFFER from those in the store:" in text, "the fixture's were measured otherwise"
    assert "were measured by version" in text or "The protocol is the same" in text
    assert sorted(path.relative_to(full_store.root) for path in full_store.root.rglob("*")) == before


def test_evaluate_measures_the_first_bits(aepipe: Aepipe) -> None:
    pytest.importorskip("pyarrow")
    whole, some, all_bits = (
        json.loads(aepipe("evaluate", *more, "--json").stdout) for more in (("--again",), ("--bits", 9), ("--bits", 64))
    )
    assert some["protocol"] == whole["protocol"] | {"n_bits": 9}
    assert len(some["health"]["rates"]) == 9
    assert len(some["calibration"]["probability"]) == 10
    assert some["health"]["rates"] == whole["health"]["rates"][:9]
    assert all_bits == whole
    found = aepipe("evaluate", "--bits", 65)
    assert (found.exit_code, "a prefix of 65 bits: these codes have 1 to 64" in found.stderr) == (2, True)


def test_evaluate_draws_precision(aepipe: Aepipe, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from aepipe.report.charts import SYSTEMS

    assert aepipe("evaluate", "--again", "--picture", tmp_path / "curves.png").exit_code == 0
    with Image.open(tmp_path / "curves.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20) or []}
    for name, colour in SYSTEMS.items():
        assert ImageColor.getrgb(colour) in colours, f"the curve of {name}"


def test_a_chart_without_matplotlib_names_what_installs_it(full_store: Store, tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['matplotlib'] = None\n"
        f"sys.argv = ['aepipe', 'show', '--curves', 'c.png', '--home', {str(full_store.root)!r}]\n"
        "from aepipe.cli.main import main; main()"
    )
    found = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert found.stderr == "aepipe: matplotlib is not installed: pip install 'aepipe[report]'\n"


def test_a_chart_named_svg_is_one(aepipe: Aepipe, tmp_path: Path) -> None:
    assert aepipe("evaluate", "--again", "--picture", tmp_path / "curves.svg").exit_code == 0
    assert "<svg " in (tmp_path / "curves.svg").read_text(encoding="utf-8")
    refused = aepipe("evaluate", "--again", "--picture", tmp_path / "curves.doc")
    assert (refused.exit_code, "name it like picture.png or picture.svg" in refused.stderr) == (2, True)


def test_show_draws_what_is_asked_for(aepipe: Aepipe, tmp_path: Path) -> None:
    assert aepipe("show", "--hits", str(tmp_path / "hits.png")).exit_code == 0
    with Image.open(tmp_path / "hits.png") as picture:
        assert picture.width > 1000


def test_it_is_said_by_what_words_are_answered(aepipe: Aepipe, colours: Store) -> None:
    (found,) = json.loads(aepipe("show", "--json", home=colours).stdout)
    assert found["words"]["kind"] == "towers"
    assert found["backbone"].endswith("vision_model.onnx")
    text = aepipe("show", home=colours).stdout
    assert "words     a text tower; towers: onnx/text_model.onnx, output text_embeds" in text
    assert "backbone  vision_model.onnx" in text
    (none,) = json.loads(aepipe("show", "--json").stdout)
    assert (none["words"], none["backbone"]) == (None, None)
