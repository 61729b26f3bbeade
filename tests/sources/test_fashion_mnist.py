"""The sample of real data: it agrees with its README, and can be made again."""

from __future__ import annotations

import hashlib
import io
import runpy
from collections import Counter
from pathlib import Path

import numpy as np
import PIL
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from aepipe import recipe as recipes
from aepipe.pipeline.ingest import ingest
from aepipe.sources import resolve
from aepipe.store.artifacts import Store
from aepipe.store.rows import Rows

DATA = Path(__file__).parents[2] / "data"
SAMPLE = DATA / "fashion-mnist.parquet"
MADE_WITH = ("13.0.0", "26.0.1")  # Pillow, pyarrow


def test_the_readme_has_its_checksum_and_its_versions() -> None:
    text = (DATA / "README.md").read_text(encoding="utf-8")
    assert f"sha256  {hashlib.sha256(SAMPLE.read_bytes()).hexdigest()}" in text
    assert "Pillow {} and pyarrow {}".format(*MADE_WITH) in text


def test_columns_counts_and_pictures() -> None:
    table = pq.read_table(SAMPLE)
    assert table.schema.names == ["image", "label", "split"]
    assert b"huggingface" in table.schema.metadata
    counts = Counter(zip(table.column("split").to_pylist(), table.column("label").to_pylist(), strict=True))
    assert sorted(counts.values()) == [200] * 10 + [1000] * 10
    images = table.column("image").to_pylist()
    assert [image["path"] for image in images] == sorted({image["path"] for image in images}, key=_train_first)
    with Image.open(io.BytesIO(images[0]["bytes"])) as first:
        assert (first.format, first.mode, first.size) == ("PNG", "L", (28, 28))


def test_the_query_picture_is_a_test_image() -> None:
    images = pq.read_table(SAMPLE).column("image").to_pylist()
    query = next(image for image in images if image["path"] == "test/00000.png")
    assert (DATA / "query.png").read_bytes() == query["bytes"]


def _train_first(path: str) -> tuple[bool, str]:
    return path.startswith("test"), path


def test_the_sample_is_ingested(store: Store) -> None:
    table = {
        "name": "fashion",
        "source": {"kind": "images", "path": str(SAMPLE), "label": "label", "split": "split"},
        "features": {"size": [28, 28], "color": "gray"},
        "layers": [{"net": "dense"}],
    }
    rows = Rows(store.path(ingest(store, resolve(recipes.parse(table, DATA / "r.toml")))))
    assert rows.facts["splits"] == {"test": 2000, "train": 10000}
    assert rows.facts["quarantined"] == 0
    assert rows.keys()[0] == "train/00000.png"
    with Image.open(io.BytesIO(pq.read_table(SAMPLE).column("image")[-1].as_py()["bytes"])) as last:
        np.testing.assert_array_equal(rows.feature(11_999)[..., 0], np.asarray(last))


def test_the_sample_can_be_made_again(shared: Path, tmp_path: Path) -> None:
    make = runpy.run_path(str(DATA / "make_fashion_mnist.py"))["make"]
    make(shared / "data" / "fashion-mnist", tmp_path / "again.parquet")
    again, sample = pq.read_table(tmp_path / "again.parquet"), pq.read_table(SAMPLE)
    assert again.schema.equals(sample.schema, check_metadata=True)
    assert again.drop(["image"]).equals(sample.drop(["image"]))
    pairs = zip(again.column("image").to_pylist(), sample.column("image").to_pylist(), strict=True)
    for one, other in list(pairs)[::100]:
        assert one["path"] == other["path"]
        with Image.open(io.BytesIO(one["bytes"])) as a, Image.open(io.BytesIO(other["bytes"])) as b:
            assert a.tobytes() == b.tobytes()
    if (PIL.__version__, pa.__version__) != MADE_WITH:
        pytest.skip("other versions of Pillow and pyarrow make other bytes of the same pixels")
    assert (tmp_path / "again.parquet").read_bytes() == SAMPLE.read_bytes()
