"""The verbs generate, reconstruct, interpolate, and pictures of networks, on small releases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from aepipe import recipe
from aepipe.errors import QueryError
from aepipe.pipeline.encode import encode
from aepipe.pipeline.finetune import finetune
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.pretrain import pretrain
from aepipe.pipeline.publish import publish
from aepipe.pipeline.resolve import resolve
from aepipe.pipeline.score import score
from aepipe.pipeline.views import views
from aepipe.release.networks import Networks
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from tests.cli.conftest import Aepipe
from tests.support.samples import write_tiny

FIT = {"epochs": 1, "batch": 32}
MASK = {"kind": "mask", "rate": 0.3}
DENOISING: dict[str, Any] = {
    "net": {"kind": "dense", "width": 40},
    "likelihood": "bernoulli",
    "corruption": MASK,
    "fit": FIT,
}
COINS = {"net": {"kind": "dense", "width": 12}, "posterior": "bernoulli", "objective": "variational", "fit": FIT}
VARIATIONAL = {**DENOISING, "posterior": "gaussian", "objective": "variational", "corruption": "none"}
LAYERS = {
    "denoising": [DENOISING, {"net": {"kind": "dense", "width": 30}, "fit": FIT}],
    "variational": [VARIATIONAL],
    "adversarial": [{**DENOISING, "net": {"kind": "dense", "width": 6}, "objective": "adversarial"}],
    "coins": [DENOISING, COINS],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with one release in service for each stack."""
    folder = tmp_path_factory.mktemp("generating")
    written = recipe.load(write_tiny(folder, count=120)).model_dump(mode="json")
    store = Store(folder / "store")
    for name, layers in LAYERS.items():
        changes = {"name": name, "layers": layers, "finetune": {"epochs": 0}, "code": {"bits": 16, "fit": FIT}}
        job = resolve(recipe.parse(written | changes, folder / "tiny.toml"))
        rows = ingest(store, job.source)
        cut = views(store, job, rows)
        refs: list[Ref] = []
        for _ in job.specs:
            refs.append(pretrain(store, job, cut, refs))
        model = finetune(store, job, cut, refs)
        codes = [encode(store, model, rows)]
        scores = score(store, job, rows, model, codes)
        registry.promote(
            store,
            name,
            publish(store, job.recipe, job.source.location, rows=rows, model=model, codes=codes, scores=scores),
            why="test",
        )
    return store


def networks(home: Store, name: str) -> Networks:
    return Networks.open(home, Release.open(home, name))


def photos(home: Store) -> list[Path]:
    return sorted((home.root.parent / "photos").rglob("*.png"))


@pytest.mark.parametrize("name", ["variational", "adversarial", "coins"])
def test_rows_are_drawn_from_the_prior(name: str, home: Store, aepipe: Aepipe, tmp_path: Path) -> None:
    found = aepipe("generate", "--name", name, "-n", 7, "--out", "rows.npy", "--walk", "walk.png", home=home)
    assert found.exit_code == 0
    assert "samples.png: 7 rows" in found.stdout
    rows = np.load(tmp_path / "rows.npy")
    assert rows.shape == (7, 28, 28, 1)
    assert ((rows >= 0) & (rows <= 1)).all()
    assert np.ptp(rows, axis=0).max() > 0.01, "different draws"
    assert Image.open(tmp_path / "walk.png").width > 200
    np.testing.assert_array_equal(rows, networks(home, name).sample(7))


def test_a_denoising_layer_walks_its_chain(home: Store, aepipe: Aepipe, tmp_path: Path) -> None:
    found = aepipe("generate", "--name", "denoising", "-n", 20, "--steps", 12, home=home)
    assert found.exit_code == 0
    assert "samples.png: 20 rows" in found.stdout
    assert aepipe("generate", "--name", "variational", "-n", 3, "--seed", 1, home=home).exit_code == 0


def test_a_picture_is_reconstructed(home: Store, aepipe: Aepipe, tmp_path: Path) -> None:
    first, second = photos(home)[:2]
    arguments = ("reconstruct", first, second, "--name", "denoising", "--tangents", "tangents.png")
    found = aepipe(*arguments, home=home)
    assert found.exit_code == 0
    head, *lines = found.stdout.splitlines()
    assert [word for word in ("from the embedding", "from 16 bits") if word in head] == [
        "from the embedding",
        "from 16 bits",
    ]
    assert str(first) in lines[0]
    assert all(float(word) > 0 for word in lines[0].split()[:2])
    with_corruption = Image.open(tmp_path / "reconstruction.png").height
    aepipe("reconstruct", first, "--name", "variational", home=home)
    assert Image.open(tmp_path / "reconstruction.png").height < with_corruption, "no corruption, no line for it"
    assert Image.open(tmp_path / "tangents.png").height > with_corruption


def test_rows_of_the_collection_and_unreadable_pictures(home: Store, aepipe: Aepipe, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    found = aepipe("reconstruct", "bad.png", "--id", 0, "--name", "denoising", home=home)
    assert found.exit_code == 0
    assert "bad.png" in found.stderr
    assert "1 of 1 rows" in found.stdout
    assert aepipe("reconstruct", "bad.png", "--name", "denoising", home=home).exit_code == 2
    nothing = aepipe("reconstruct", "--name", "denoising", home=home)
    assert nothing.exit_code == 2
    assert "nothing is asked" in nothing.stderr


def test_between_two_pictures(home: Store, aepipe: Aepipe, tmp_path: Path) -> None:
    a, b = photos(home)[:2]
    for name in ("denoising", "variational"):
        found = aepipe("interpolate", a, b, "--steps", 5, "--name", name, home=home)
        assert found.exit_code == 0
        assert "interpolation.png: 5 steps" in found.stdout


def test_pictures_of_a_network(home: Store, aepipe: Aepipe, tmp_path: Path) -> None:
    for name in ("denoising", "coins"):
        assert (
            aepipe(
                "show", "--name", name, "--filters", "f.png", "--map", "m.png", "--page", "p.html", home=home
            ).exit_code
            == 0
        )
        assert Image.open(tmp_path / "f.png").width > 400
        assert Image.open(tmp_path / "m.png").width > 400
        assert "<h2>Training</h2>" in (tmp_path / "p.html").read_text()


def test_networks_are_those_of_the_release(home: Store) -> None:
    release, found = Release.open(home, "coins"), networks(home, "coins")
    assert found.shape == (28, 28, 1)
    assert len(found.layers) == len(found.specs) == 3
    assert found.prior_depth == 2
    assert networks(home, "denoising").prior_depth is None
    items = np.zeros((3, 28, 28, 1), np.uint8)
    items[:, 5:20, 5:20] = 200
    assert found.reconstruct(items, bits=True).shape == items.shape
    embedded = release.encoder.encode(items).embedding
    from aepipe.learn import generate

    mine = generate.embed(found.floats(), items, found.compute)
    np.testing.assert_allclose(mine, embedded, atol=1e-4)
    directions, strengths = found.tangents(items[0], 3)
    assert directions.shape == (3, 28, 28, 1)
    assert (strengths[:-1] >= strengths[1:]).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("denoising", "denoising: no layer has a prior to draw from"),
        ("variational", "variational: the lowest layer was trained without a corruption, so it has no chain"),
    ],
)
def test_what_cannot_be_generated_has_a_reason(name: str, message: str, home: Store) -> None:
    found = networks(home, name)
    start = np.zeros((1, 28, 28, 1), np.uint8)
    with pytest.raises(QueryError, match=message):
        _ = found.sample(3) if name == "denoising" else found.chain(start, steps=2)


@pytest.mark.parametrize("option", ["--out", "--picture", "--walk"])
def test_a_file_that_cannot_be_written_is_named_before_the_work(aepipe: Aepipe, tmp_path: Path, option: str) -> None:
    found = aepipe("generate", "--name", "none", option, "no/rows.npy")
    assert found.exit_code == 2
    assert found.stderr == f"aepipe: no/rows.npy: there is no folder {tmp_path / 'no'}; make it first\n"
