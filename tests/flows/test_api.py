"""``aepipe.run``, ``nightly`` and ``refresh`` from Python: results and errors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import aepipe
from aepipe.errors import GateError, QueryError, RecipeError
from aepipe.evaluate.differences import differences
from aepipe.pipeline import fallback
from aepipe.store import registry
from aepipe.store.artifacts import Store
from tests.support.samples import write_photos, write_tiny

pytestmark = pytest.mark.usefixtures("prefect")


def test_a_collection_is_made_renewed_and_refused_from_python(
    tmp_path: Path, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    tiny = write_tiny(tmp_path, count=60, epochs=2)
    first = aepipe.run(tiny, home=store.root)
    assert first.in_service
    assert first.reasons
    assert (first.collection.name, len(first.collection)) == ("tiny", 60)
    picture = next(iter(sorted((tmp_path / "photos").rglob("*.png"))))
    assert first.collection.query(picture, k=1).hits[0].distance == 0
    measured = first.collection.evaluate(again=True)
    assert differences(first.collection.scores, measured) == [], "the same rows and codes have the same figures"
    measured["rows"][0]["metrics"]["recall_at_10"]["value"] += 1e-4
    assert [one.name for one in differences(first.collection.scores, measured)] == ["ours recall_at_10 value"]
    again = aepipe.run(str(tiny), home=str(store.root), promote=False)
    assert (again.collection.release.ref, again.reasons) == (first.collection.release.ref, ("nothing has changed",))

    quiet = aepipe.nightly(tiny, home=store.root, retrain="never")
    assert (quiet.changed, quiet.done) == (False, ("nothing has changed",))
    write_photos(tmp_path / "photos", start=60, count=2)
    renewed = aepipe.refresh(store.root)
    assert (renewed.changed, len(renewed.collection)) == (True, 62)

    key = first.collection.release.describe([0])[0].key
    (tmp_path / "canaries.toml").write_text(f'[[canary]]\nkey = "{key}"\nhits = ["nothing"]\n')
    tiny.write_text(tiny.read_text() + '\n[gate]\ncanaries = "canaries.toml"\n')
    with pytest.raises(GateError, match=r"tiny: the gate refuses release \w+: canary key"):
        aepipe.nightly(tiny, home=store.root, retrain="never")
    assert registry.resolve(store)[1] == renewed.collection.release.ref, "what was in service stays"
    said = capfd.readouterr()
    assert not said.out
    assert "canary" not in said.err, "a refusal is raised, and not printed, too"


def test_rotated_components_are_released_where_they_are_better(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = write_tiny(tmp_path, count=60, epochs=2)
    better = fallback.Compared("map_at_1000", 0.1, 0.9)
    monkeypatch.setattr(fallback, "compared", lambda *_, **__: better)
    monkeypatch.setattr(fallback, "kept_its_lead", lambda *_: True)
    made = aepipe.run(tiny, home=store.root).collection
    assert made.release.recipe["code"]["objective"]["kind"] == "itq"
    assert made.query(sorted((tmp_path / "photos").rglob("*.png"))[0], k=1).hits[0].distance == 0
    quiet = aepipe.nightly(tiny, home=store.root, retrain="never")
    assert (quiet.changed, quiet.done) == (False, ("nothing has changed",)), "they stand for the same recipe"
    tiny.write_text(tiny.read_text().replace("epochs = 2", "epochs = 3") + "\n[gate]\nmax_regression = 1.0\n")
    monkeypatch.setattr(fallback, "compared", lambda *_, **__: fallback.Compared("map_at_1000", 0.9, 0.1))
    changed = aepipe.nightly(tiny, home=store.root, retrain="never").collection
    assert changed.release.recipe["code"]["objective"]["kind"] != "itq", "the recipe has changed, and is trained"


def test_mistakes_are_raised_before_anything_is_made(tmp_path: Path, store: Store) -> None:
    with pytest.raises(QueryError, match="no such rule of nightly: week; these are: retrain, days, cold"):
        aepipe.nightly("demo", home=store.root, week=1)  # type: ignore[call-arg]
    with pytest.raises(RecipeError, match=r"nowhere\.toml"):
        aepipe.run(tmp_path / "nowhere.toml", home=store.root)
    tiny = write_tiny(tmp_path, count=3)
    tiny.write_text(tiny.read_text().replace("bits = 32", "bitz = 32"))
    with pytest.raises(RecipeError, match="bitz"):
        aepipe.run(tiny, home=store.root)
    assert not store.root.exists()


def test_a_later_run_in_one_process_talks_to_its_own_server() -> None:
    from prefect.settings import PREFECT_API_URL

    from flows.local_server import _connected

    before, other = PREFECT_API_URL.value(), "http://127.0.0.1:9/api"
    with _connected(other):
        assert PREFECT_API_URL.value() == other, "Prefect has read the environment already"
    assert PREFECT_API_URL.value() == before


def test_the_history_of_each_run_stays_in_its_own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import local_server

    for name in ("PREFECT_API_URL", "PREFECT_HOME", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("_start", "_wait", "_stop"):  # a server takes seconds, and is not what is tested
        monkeypatch.setattr(local_server, name, lambda *_: None)
    for name in ("first", "second"):
        store = Store(tmp_path / name)
        with local_server.session(store):
            assert os.environ["PREFECT_HOME"] == str(store.root / "prefect")
        assert not {"PREFECT_API_URL", "PREFECT_HOME", "MPLCONFIGDIR"} & os.environ.keys()
        assert (store.root / "prefect" / "server.log").is_file()
