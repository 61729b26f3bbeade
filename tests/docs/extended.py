"""What users do, where every choice is an example of the page about extending; run in the copy that has them.

python -m tests.docs.extended
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from aepipe.cli.app import app
from aepipe.codes.bitcodes import BitCodes
from aepipe.index import hamming
from aepipe.pipeline.suggest import suggest
from docs.generate import cli, recipe
from flows import tasks
from flows.job import open_job

STORE = ".aepipe"


def trained(file: str) -> str:
    """Run all stages without a Prefect server; return the losses of the first layer, as JSON."""
    job = open_job(file, shelf=STORE)
    rows = tasks.ingest.fn(job, None)
    views = tasks.views.fn(job, rows)
    layers: list[str] = []
    for number in range(1, len(job.resolved.specs) + 1):
        layers.append(tasks.pretrain.fn(job, views, layers, number))
    model = tasks.finetune.fn(job, views, layers)
    codes = tasks.encode.fn(job, model, rows)
    scores = tasks.score.fn(job, rows, model, codes)
    parts = {"rows": rows, "views": views, "layers": layers, "model": model, "codes": codes, "scores": scores}
    tasks.promote.fn(job, tasks.publish.fn(job, parts), "made by a test")
    return (Path(STORE) / layers[0] / "curve.json").read_text(encoding="utf-8")


def verb(*words: str) -> str:
    """Return what a verb says."""
    done = CliRunner().invoke(app, [*words], prog_name="aepipe")
    return done.stdout if done.exit_code == 0 else f"{done.output} {done.exception!r}"


def compared() -> str:
    """Compare the example of an index with a scan; return how many rows both find in the end."""
    rng = np.random.default_rng(0)
    codes, ids = BitCodes.from_bits(rng.random((500, 32)) < 0.5, "f" * 64), np.arange(500)
    for radius in (0, 3, 9, 32):
        mine, scan = (hamming.build(codes, ids, kind=kind).within(codes[:20], radius) for kind in ("weights", "flat"))
        for field in ("ids", "distances", "offsets"):
            np.testing.assert_array_equal(getattr(mine, field), getattr(scan, field))
    return str(len(mine.ids))


def suggested() -> str:
    """Return the recipe that is derived for the sequences, and what was found there."""
    _, text, held = suggest("source", folder=Path.cwd())
    return f"{text}\n{held.strangers} {held.kinds.most_common()}\n"


def main() -> None:
    """Be the program: print everything as one object of JSON, on the last line."""
    curve = trained("extended.toml")
    file = next(Path("source", "test").rglob("*.dna"))
    of_corruptions = ["tests/learn/test_corruption.py", "-k", "brightness or every_kind"]
    found = {
        "curve": curve,
        "count": verb("count"),
        "help": verb("--help"),
        "index": compared(),
        "within": verb("query", "--id", "3", "--radius", "2", "--json"),
        "key": str(file.relative_to("source")),
        "by file": verb("query", str(file), "-k", "1", "--json"),
        "by letters": verb("query", file.read_text(encoding="ascii"), "-k", "1", "--json"),
        "suggested": suggested(),
        "pages": cli.page() + recipe.page(),
        "corruption": str(int(pytest.main(["-q", "-p", "no:cacheprovider", *of_corruptions]))),
    }
    sys.stdout.write(f"\n{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
