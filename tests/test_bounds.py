"""Lower bounds of dependencies: those of the project are at least those that SECURITY.md gives reasons for.

``python -m tests.test_bounds`` (``make audit``) asks pip-audit whether an advisory concerns a bound, where it can reach
its data; elsewhere it compares the bounds with the table only.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| `([\w.-]+)` \| ([\w.]+) \| (.+) \|$", re.MULTILINE)
OTHERS = re.compile(r"no advisory was found on [\d-]+:(.+?)\.\n\n", re.DOTALL)
OPEN = re.compile(r"What no bound mends:\n(.+?)\n## ", re.DOTALL)


def of_project(text: str) -> dict[str, Version | None]:
    """Return the lower bound of each dependency in the text of pyproject.toml; None where it has none."""
    read = tomllib.loads(text)
    asked = [*read["build-system"]["requires"], *read["project"]["dependencies"]]
    asked += [one for extra in read["project"]["optional-dependencies"].values() for one in extra]
    found: dict[str, Version | None] = {}
    for requirement in map(Requirement, asked):
        least = [Version(part.version) for part in requirement.specifier if part.operator in (">=", "==")]
        found[canonicalize_name(requirement.name)] = max(least, default=None)
    return {name: bound for name, bound in found.items() if name != "aepipe"}


def faults(project: Mapping[str, Version | None], security: str) -> Iterator[str]:
    """Say where the bounds of the project and the table in the text of SECURITY.md disagree."""
    table: dict[str, Version] = {canonicalize_name(name): Version(bound) for name, bound, _ in ROW.findall(security)}
    others = OTHERS.search(security)
    known = {*table, *(re.findall(r"`([\w.-]+)`", others[1]) if others else ())}
    for name, least in table.items():
        if name not in project:
            yield f"SECURITY.md: {name} is no dependency"
        elif (bound := project[name]) is not None and bound < least:
            yield f"pyproject.toml: {name}>={bound} is below {least}, which SECURITY.md gives a reason for"
    for one, bound in project.items():
        if bound is None:
            yield f"pyproject.toml: {one} has no lower bound"
        if one not in known:
            yield f"SECURITY.md: {one} has not been compared with published advisories"


def advisories(report: Mapping[str, Any], security: str) -> tuple[int, list[str]]:
    """Return how many packages a report of pip-audit covers, and the advisories that are not explained."""
    opened = OPEN.search(security)
    explained = set(re.findall(r"(?:CVE|GHSA|PYSEC)-[\w-]+", opened[1] if opened else ""))
    audited = [one for one in report["dependencies"] if "skip_reason" not in one]
    lines = []
    for one in audited:
        for found in one["vulns"]:
            if explained.isdisjoint({found["id"], *found.get("aliases", ())}):
                fixed = ", ".join(found["fix_versions"]) or "no version"
                lines.append(f"{one['name']} {one['version']}: {found['id']}, fixed in {fixed}")
    return len(audited), lines


def ask(program: Path, project: Mapping[str, Version | None], folder: Path) -> Mapping[str, Any] | None:
    """Return the report of pip-audit about the bounds; None where it gives none."""
    folder.mkdir(parents=True, exist_ok=True)
    pinned = folder / "bounds.txt"
    pinned.write_text("".join(f"{name}=={bound}\n" for name, bound in project.items() if bound), encoding="utf-8")
    options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json", "--aliases", "on"]
    try:
        done = subprocess.run(
            [program, "-r", pinned, *options], capture_output=True, text=True, check=False, timeout=600
        )
        report: Mapping[str, Any] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return report


def texts() -> tuple[dict[str, Version | None], str]:
    """Return the bounds of the project, and the text of SECURITY.md."""
    project = of_project((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return project, (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_the_project_keeps_the_bounds_that_have_reasons() -> None:
    project, security = texts()
    assert len(ROW.findall(security)) > 15
    assert not list(faults(project, security))


def test_a_lower_bound_is_named() -> None:
    project, security = texts()
    lower = project | {"pillow": Version("12.3"), "numpy": None, "leftpad": Version("1")}
    assert list(faults(lower, security)) == [
        "pyproject.toml: pillow>=12.3 is below 13.0, which SECURITY.md gives a reason for",
        "pyproject.toml: numpy has no lower bound",
        "SECURITY.md: leftpad has not been compared with published advisories",
    ]


def test_reports_of_pip_audit() -> None:
    """What is skipped is not audited, and what no bound mends is not reported again."""
    vulns = [
        {"id": "PYSEC-2026-1", "fix_versions": ["13.1"], "aliases": ["CVE-2026-1"]},
        {"id": "PYSEC-2026-2", "fix_versions": [], "aliases": ["CVE-2024-50612"]},
    ]
    report = {
        "dependencies": [
            {"name": "pillow", "version": "13.0", "vulns": vulns},
            {"name": "numpy", "skip_reason": "not found"},
        ]
    }
    _, security = texts()
    assert advisories(report, security) == (1, ["pillow 13.0: PYSEC-2026-1, fixed in 13.1"])


def main() -> int:
    """Compare the bounds with the table, then with published advisories where they can be had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pip-audit", type=Path, help="the program; without it the table is compared only")
    given = parser.parse_args()
    project, security = texts()
    found = list(faults(project, security))
    report = ask(given.pip_audit, project, ROOT / "build") if given.pip_audit else None
    audited, lines = advisories(report, security) if report else (0, [])
    print(*found, *lines, sep="\n", end="\n" if found or lines else "")
    print(f"{len(project)} bounds agree with SECURITY.md" if not found else f"{len(found)} disagree with SECURITY.md")
    where = f"{audited} of them were compared by pip-audit, {len(lines)} advisories concern them"
    print(where if audited else "pip-audit cannot reach published advisories here: only the table was compared")
    return bool(found or lines)


if __name__ == "__main__":
    sys.exit(main())
