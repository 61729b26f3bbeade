"""Nights of a collection: what is done, what is refused, and what is reported."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aepipe.errors import BusyError, GateError
from aepipe.release.lifecycle import verify
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import KINDS, Ref, Store
from flows.job import open_job
from flows.quiet import Rules, passed, tidy
from tests.support.samples import write_photos, write_tiny

pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny(tmp_path, count=160, epochs=8)


def night(tiny: Path, store: Store, **rules: Any) -> dict[str, Any]:
    """Run one night."""
    from flows.nightly import nightly

    return nightly(str(tiny), shelf=str(store.root), rules=Rules(**rules))


def everything(store: Store) -> set[Ref]:
    """Return all artifacts in the store."""
    return {ref for kind in KINDS for ref in store.refs(kind)}


def figures(store: Store) -> dict[str, float]:
    """Return the figures in the metrics file by name and labels, these in alphabetical order."""
    from prometheus_client.parser import text_string_to_metric_families

    found = {}
    for family in text_string_to_metric_families((store.root / "metrics" / "tiny.prom").read_text()):
        for one in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(one.labels.items()))
            found[f"{one.name}{{{labels}}}"] = one.value
    return found


def test_nights_of_a_collection(tiny: Path, store: Store) -> None:
    text = tiny.read_text().replace("[code]", '[code]\nfallback = "none"')
    tiny.write_text(text + "\n[gate]\nwarn_below_itq = false\n")
    first = night(tiny, store)
    assert first["done"] == ["trained: the first release"]
    release = Release.open(store)
    assert first["release"] == str(release.ref)
    known = figures(store)
    assert known['aepipe_run_success{collection="tiny"}'] == 1
    assert known['aepipe_rows{collection="tiny"}'] == 160
    assert known['aepipe_score{collection="tiny",metric="recall_at_10",system="ours"}'] > 0
    assert known['aepipe_stage_seconds{collection="tiny",stage="train"}'] > 0

    assert known['aepipe_source_rows{collection="tiny",what="new"}'] == 160

    before = everything(store)
    assert night(tiny, store) == {**first, "changed": False, "done": ["nothing has changed"]}
    assert everything(store) == before, "a second run does nothing"
    assert len(registry.history(store)) == 1
    quiet = figures(store)
    assert passed(open_job(str(tiny), shelf=str(store.root)), Rules()) == night(tiny, store), "with and without a flow"
    assert figures(store).keys() == quiet.keys()
    assert quiet['aepipe_source_rows{collection="tiny",what="new"}'] == 0
    assert quiet['aepipe_source_rows{collection="tiny",what="rows"}'] == 160

    write_photos(tiny.parent / "photos", start=160, count=10)
    gone, first_one, other = sorted((tiny.parent / "photos").rglob("*.png"))[:3]
    gone.unlink()
    shutil.copy(other, first_one)
    renewed = night(tiny, store)
    assert renewed["done"][0].startswith("renewed: 10 new, 1 changed and 1 vanished of 169; drift was not tested")
    now = Release.open(store)
    assert now.fingerprint == release.fingerprint
    assert str(gone.relative_to(tiny.parent / "photos")) not in set(now.items.column("key"))
    assert verify(store, now.ref)
    assert not night(tiny, store)["changed"]

    trained = night(tiny, store, retrain="always")
    aligned = store.manifest(Release.open(store).part("encoder")).facts["aligned"]
    assert aligned["fingerprint"] == release.fingerprint != Release.open(store).fingerprint
    assert aligned["flips"] < 0.25
    assert trained["done"] == [f"trained: that was asked for, {aligned['flips']:.1%} of the bits differ"]
    assert night(tiny, store, days=0)["done"] == ["nothing has changed"], "there is nothing new to learn"


def test_a_changed_recipe_trains_and_a_worse_one_is_refused(tiny: Path, store: Store) -> None:
    night(tiny, store)
    kept = Release.open(store)
    tiny.write_text(tiny.read_text() + "\n[gate]\nmax_regression = 0.02\n")
    done = night(tiny, store)["done"][0]
    assert done.startswith("renewed: the recipe has changed in gate"), "a gate is nothing that is learned"
    served = Release.open(store)
    assert served.fingerprint == kept.fingerprint
    tiny.write_text(tiny.read_text().replace("bits = 32", "bits = 1"))
    for _ in range(2):
        with pytest.raises(GateError, match="the gate refuses release"):
            night(tiny, store)
    assert Release.open(store).ref == served.ref
    refused = [event for event in registry.history(store, refused=True) if event.action == "refuse"]
    assert len(refused) == 1, "it is noted once"
    assert store.has(Ref("release", refused[0].after))
    assert figures(store)['aepipe_run_success{collection="tiny"}'] == 0
    assert registry.previous(store, "tiny") == kept.ref, "a refusal is nothing to roll back to"


def test_drift_trains_a_new_encoder(tmp_path: Path, store: Store) -> None:
    tiny = write_tiny(tmp_path, count=300, epochs=8)
    tables = "[views]\nholdout = 0.3\n\n[gate]\nmax_regression = 1.0\n\n[[layers]]"
    tiny.write_text(tiny.read_text().replace("[[layers]]", tables))
    night(tiny, store)
    first = Release.open(store)
    for number, file in enumerate(sorted((tmp_path / "photos").rglob("*.png"))[:60]):
        with Image.open(file) as image:
            negative = 255 - np.asarray(image.convert("L"))
        Image.fromarray(negative).save(file.with_name(f"negative{number}.png"))
    outcome = night(tiny, store)
    assert outcome["done"][0].startswith("renewed: 60 new")
    assert "drift in" in outcome["done"][0]
    assert outcome["done"][1].startswith("trained: drift in")
    assert Release.open(store).fingerprint != first.fingerprint
    assert figures(store)['aepipe_drift{collection="tiny"}'] == 1


def test_old_releases_are_removed(tiny: Path, store: Store) -> None:
    photos = tiny.parent / "photos"
    night(tiny, store)
    for number in range(3):
        shutil.copy(sorted(photos.rglob("*.png"))[number], photos / f"{number}.png")
        night(tiny, store, keep=2)
    assert len(store.refs("release")) == 4, "what is young stays"
    shutil.copy(sorted(photos.rglob("*.png"))[9], photos / "9.png")
    night(tiny, store, keep=2, hours=0)
    assert len(store.refs("release")) == 2

    with registry.lock(store, "other"):
        tidy(store, 1, 0.0)
    assert len(store.refs("release")) == 2, "it does not wait for other collections"
    assert verify(store, Release.open(store).ref)


def test_two_nights_at_once(tiny: Path, store: Store) -> None:
    from flows.nightly import nightly

    with registry.lock(store, "tiny"), pytest.raises(BusyError):
        nightly(str(tiny), shelf=str(store.root), wait=0.2)
