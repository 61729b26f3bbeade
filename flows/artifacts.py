"""Artifacts for Prefect's pages: scores, verdict, curves, hits, and a link to the report."""

from __future__ import annotations

import hashlib
import logging
import re
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from aepipe.errors import AepipeError
from aepipe.evaluate.gate import Verdict
from aepipe.release.release import Release
from aepipe.report.facts import describe
from aepipe.report.page import page, shown
from aepipe.report.tables import health_line, protocol_line, scores_table
from aepipe.store import layout
from aepipe.store.artifacts import Ref
from aepipe.store.io import write_into_folder
from flows.job import Job

logger = logging.getLogger("aepipe.flows")


def show(job: Job, ref: Ref, verdict: Verdict) -> None:
    """Publish the artifacts of a release, under keys that stay the same from run to run."""
    release, key = Release.open(job.store, ref=ref), key_of(job.name)
    pictures = shown(job.store, release, job.store.root / layout.Root.chart(job.name))
    create_table_artifact(table_of(release.scores), key=f"{key}-scores", description=protocol_line(release.scores))
    create_markdown_artifact(summary(release, verdict), key=f"{key}-verdict", description=f"{job.name}: {ref.short}")
    for heading, picture in pictures.items():
        # Not an image artifact: Prefect prints its whole URL below the picture, and this URL holds all bytes of it.
        create_markdown_artifact(f"# {heading}\n\n![{heading}]({picture})\n", key=f"{key}-{heading.lower()}")
    file = job.store.root / layout.Root.report(job.name)
    try:
        write_into_folder(file, page(describe(job.store, ref), pictures, reasons(verdict)))
    except (AepipeError, OSError) as error:
        logger.warning("%s: its page is not written: %s", job.name, error)
        return
    said = "full report, a file on the machine that ran the flow"
    create_link_artifact(file.as_uri(), link_text=str(file), key=f"{key}-report", description=said)


def table_of(scores: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one line for each system: our codes, the other codes, and exact float search."""
    return [
        {"system": row["system"]} | {name: round(estimate["value"], 4) for name, estimate in row["metrics"].items()}
        for row in scores["rows"]
    ]


def summary(release: Release, verdict: Verdict) -> str:
    """Return the verdict and the scores as Markdown."""
    lines = [f"# {release.name}: release {release.ref.short}", ""]
    lines += [f"The gate {'lets it pass' if verdict.passed else '**refuses it**'}:", ""]
    lines += [f"- {one}" for one in reasons(verdict)]
    lines += ["", scores_table(release.scores, markdown=True), ""]
    return "\n".join([*lines, protocol_line(release.scores), "", health_line(release.scores), *release.scores["notes"]])


def reasons(verdict: Verdict) -> list[str]:
    """Return reasons and warnings of the gate, one line each."""
    return [*verdict.reasons, *(f"warning: {warning}" for warning in verdict.warnings)]


def key_of(name: str) -> str:
    """Return a name as a key for Prefect, which allows a-z, digits and dashes.

    Each name has a key of its own.
    """
    key = re.sub("[^a-z0-9]+", "-", name).strip("-")
    return key if key == name else f"{key}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".lstrip("-")
