"""What Prefect's pages show of a run: the scores as a table, the verdict in words, curves and hits as pictures."""

from __future__ import annotations

import re
from typing import Any

from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact

from aepipe.evaluate import Verdict
from aepipe.release import Release
from aepipe.report.examples import data_uri, examples_picture, training_picture
from aepipe.report.scores import health_line, protocol_line, scores_table
from aepipe.store import Ref
from flows.job import Job


def show(job: Job, ref: Ref, verdict: Verdict) -> None:
    """Publish what is to be seen of a release, under keys that stay the same from run to run."""
    release, key = Release.open(job.store, ref=ref), key_of(job.name)
    create_table_artifact(table_of(release.scores), key=f"{key}-scores", description=protocol_line(release.scores))
    create_markdown_artifact(page(release, verdict), key=f"{key}-verdict", description=f"{job.name}: {ref.short}")
    create_image_artifact(data_uri(training_picture(job.store, release)), key=f"{key}-training")
    hits = examples_picture(release)
    if hits is not None:
        create_image_artifact(data_uri(hits), key=f"{key}-hits", description="rows and what they find")


def table_of(scores: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a line for each system: our codes, the other codes, and exact float search."""
    return [
        {"system": row["system"]} | {name: round(estimate["value"], 4) for name, estimate in row["metrics"].items()}
        for row in scores["rows"]
    ]


def page(release: Release, verdict: Verdict) -> str:
    """Return the verdict and the scores as Markdown."""
    lines = [f"# {release.name}: release {release.ref.short}", ""]
    lines += [f"The gate {'lets it pass' if verdict.passed else '**refuses it**'}:", ""]
    lines += [f"- {reason}" for reason in verdict.reasons]
    lines += [f"- warning: {warning}" for warning in verdict.warnings]
    lines += ["", scores_table(release.scores, markdown=True), ""]
    return "\n".join([*lines, protocol_line(release.scores), "", health_line(release.scores), *release.scores["notes"]])


def key_of(name: str) -> str:
    """Return a name as Prefect wants keys: lower-case letters, digits and dashes."""
    return re.sub("[^a-z0-9]+", "-", name).strip("-")
