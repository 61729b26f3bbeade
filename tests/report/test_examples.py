"""Pictures of a release for a page."""

from __future__ import annotations

import base64
import json
import shutil
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from aepipe.errors import CorruptError
from aepipe.release.release import Release
from aepipe.report.examples import data_uri, examples_picture, training_curves
from aepipe.store.artifacts import Ref, Store
from tests.support.releases import make_release, pictures_of


def test_rows_and_what_they_find(store: Store) -> None:
    release = Release.open(store, ref=make_release(store, n=40))
    few, many = (examples_picture(release, queries=queries, k=3) for queries in (2, 5))
    assert few is not None
    assert many is not None
    assert many.height > few.height
    shutil.rmtree(pictures_of(store))
    assert examples_picture(release) is None


def test_losses_by_part(store: Store, tmp_path: Path) -> None:
    def model(text: str) -> Ref:
        with store.draft("model") as draft:
            (draft.path / "curves.json").write_text(text)
            return draft.finish({"text": text})

    stored = {
        "layer 1": [{"loss": 3.0, "held_out": 4.0}, {"loss": 2.0, "held_out": 3.5}],
        "fine-tuning": [{"loss": 1.0}],
    }
    found = training_curves(store, model(json.dumps(stored)))
    assert found == {
        "layer 1": {"train": [3.0, 2.0], "valid": [4.0, 3.5]},
        "fine-tuning": {"train": [1.0], "valid": []},
    }
    for text in ("{", "[1]", '{"a": 1}'):
        with pytest.raises(CorruptError, match=r"curves\.json"):
            training_curves(store, model(text))


def test_a_picture_as_a_url() -> None:
    head, _, body = data_uri(Image.new("RGB", (30, 20), "red")).partition(",")
    assert head == "data:image/jpeg;base64"
    assert Image.open(BytesIO(base64.b64decode(body))).size == (30, 20)
