"""A release by a recipe whose every choice is an example of the page; run in the copy that has them.

python -m tests.docs.extended RECIPE STORE
"""

from __future__ import annotations

import sys
from pathlib import Path

from flows import tasks
from flows.job import open_job


def main(recipe: str, store: str) -> None:
    """Run all stages without a Prefect server, and print what the losses of the first layer were."""
    job = open_job(recipe, shelf=store)
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
    sys.stdout.write((Path(store) / layers[0] / "curve.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(*sys.argv[1:])
