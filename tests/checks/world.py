"""A real collection that each check is tried on, and the changes that a check has to name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image
from typer.testing import CliRunner

from aepipe import recipe as recipes
from aepipe.cli import doctor
from aepipe.cli.app import app
from aepipe.codes.encoder import GRAPH
from aepipe.evaluate.scores import interval
from aepipe.pipeline import publish, score
from aepipe.pipeline.encode import encode
from aepipe.pipeline.gate import run_gate
from aepipe.pipeline.ingest import ingest
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from tests.support.encoders import write_encoder
from tests.support.releases import BarePlan, bare_plan, pictures_of, write_pictures

NAME, N, SHAPE, BITS = "pictures", 131, (8, 8, 1), 64


class Said(NamedTuple):
    """The answer of a check: whether it has passed, and its words."""

    passed: bool
    words: str


@dataclass(frozen=True, slots=True)
class Check:
    """A check of the product, and how it is tried.

    Attributes:
        name: of the check.
        passes: the state that it passes, in words.
        names: the smallest change that it names, in words.
        says: part of what it says then, and only then.
        tried: yields its answer on that state, then on the changed one.
    """

    name: str
    passes: str
    names: str
    says: str
    tried: Callable[[World], Iterator[Said]]


class Checks(list[Check]):
    """The checks of a file; a decorator that adds one."""

    def add(self, name: str, *, passes: str, names: str, says: str) -> Callable[..., Callable[[World], Iterator[Said]]]:
        """Add a check."""

        def added(tried: Callable[[World], Iterator[Said]]) -> Callable[[World], Iterator[Said]]:
            self.append(Check(name, passes, names, says, tried))
            return tried

        return added


class World:
    """A copy of a collection of 131 pictures, which a test may change.

    Attributes:
        folder: holds the store and the pictures.
        store: with one release in service, scored as a run does it.
        patched: undoes what it sets.
    """

    def __init__(self, folder: Path, patched: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.store = Store(folder / "store")
        self.patched = patched
        # Intervals take most of the time of figures as small as these.
        patched.setattr(interval, "__defaults__", (0.95, 20))

    @classmethod
    def make(cls, folder: Path, patched: pytest.MonkeyPatch) -> World:
        """Make the collection in an empty folder."""
        world = cls(folder, patched)
        write_pictures(world.pictures, N, SHAPE)
        rows = ingest(world.store, world.plan().source)
        registry.promote(world.store, NAME, world.released(world.encoder(), rows), why="a test")
        return world

    @property
    def pictures(self) -> Path:
        """The folder of the pictures."""
        return pictures_of(self.store)

    @property
    def release(self) -> Release:
        """The release in service, opened anew."""
        return Release.open(Store(self.store.root), NAME)

    def plan(self, **gate: Any) -> BarePlan:
        """Return the recipe, with other rules of the gate."""
        plan = bare_plan(self.store, n_bits=BITS, shape=SHAPE)
        table = plan.recipe.model_dump(mode="json")
        table["gate"] |= gate
        return replace(plan, recipe=recipes.parse(table, self.folder / "pictures.toml"))

    def encoder(self, *, seed: int = 0, dead: int = 0, copies: int = 0, views: str = "") -> Ref:
        """Put an untrained encoder into the store, some of whose bits are always 0 or copies of the last one."""
        with self.store.draft("model") as draft:
            features = self.plan().source.features()
            write_encoder(draft.path, shape=SHAPE, n_bits=BITS, seed=seed, features=features)
            graph = onnx.load(draft.path / GRAPH)
            for one in graph.graph.initializer:
                values = numpy_helper.to_array(one).copy()
                if one.name == "bcode":
                    values[:dead] = -1e6
                if one.name == "wcode":
                    values[:, :copies] = values[:, -1:]
                one.CopyFrom(numpy_helper.from_array(values, one.name))
            (draft.path / GRAPH).write_bytes(graph.SerializeToString(deterministic=True))
            return draft.finish({"seed": seed, "dead": dead, "copies": copies, "views": views})

    def released(self, model: Ref, rows: Ref | None = None) -> Ref:
        """Make a release of an encoder, scored as a run does it; it is not in service."""
        plan, rows = self.plan(), rows or self.release.part("rows")
        codes = [encode(self.store, model, rows)]
        scores = score.score(self.store, plan, rows, model, codes)  # type: ignore[arg-type]
        return publish.publish(
            self.store, plan.recipe, self.pictures, rows=rows, model=model, codes=codes, scores=scores
        )

    def with_scores(self, change: Callable[[dict[str, Any]], None], *, version: int = score.VERSION) -> Ref:
        """Make a release like that in service, sealed with other scores; it is not in service."""
        release = self.release
        scores = json.loads(json.dumps(release.scores))
        change(scores)
        folder = self.store.path(release.part("scores"))
        with self.store.draft("segment") as draft:
            shutil.copytree(folder, draft.path, dirs_exist_ok=True)
            (draft.path / "manifest.json").unlink()
            (draft.path / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
            made = draft.finish({"scores": json.dumps(scores), "version": version}, {"kind": "scores"})
        parts = {"rows": release.part("rows"), "model": release.part("encoder"), "codes": release.all_parts("codes")}
        return publish.publish(self.store, self.plan().recipe, self.pictures, scores=made, **parts)  # type: ignore[arg-type]

    def serve(self, release: Ref) -> None:
        """Put a release into service."""
        registry.promote(self.store, NAME, release, why="a test")

    def aepipe(self, *words: str) -> Said:
        """Run a verb; it has passed where its status is 0."""
        done = CliRunner().invoke(app, [*words, "--home", str(self.store.root)], prog_name="aepipe")
        assert isinstance(done.exception, SystemExit | None), done.exception
        return Said(done.exit_code == 0, done.output + done.stderr)

    def doctor(self, **environment: str) -> Said:
        """Run the checks of ``aepipe doctor``, without the packages; it has passed where nothing is noted."""
        found = [one for one in doctor.examine(Store(self.store.root), environment) if one.level != "ok"]
        return Said(not found, "\n".join(one.said for one in found))

    def gate(self, release: Ref, **rules: Any) -> Said:
        """Ask the gate."""
        verdict = run_gate(self.store, self.plan(**rules), release)  # type: ignore[arg-type]
        return Said(verdict.passed, "\n".join((*verdict.reasons, *verdict.warnings)))

    def file(self, part: str, name: str, release: Ref | None = None) -> Path:
        """Return a file of a part of a release."""
        opened = Release.open(self.store, ref=release) if release else self.release
        return self.store.path(opened.part(part)) / name


def flip_one_bit(file: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.chmod(0o600)
    file.write_bytes(data)


def brighter(file: Path, by: int) -> None:
    """Make a picture brighter by some levels."""
    with Image.open(file) as image:
        pixels = np.asarray(image).astype(int) + by
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file)
