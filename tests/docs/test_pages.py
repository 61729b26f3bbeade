"""The documentation says what the code does: generated pages, the tree, verbs and kinds, links, examples."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from docs.generate import COMMAND
from docs.generate import pages as generated
from tests.faults import counts

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
pages = cache(generated)


def read(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def test_generated_pages_are_up_to_date() -> None:
    old = [file.name for file, text in pages().items() if file.read_text(encoding="utf-8") != text]
    assert not old, f"{', '.join(old)}: differ from the code; write them again with `{COMMAND}`"


def test_every_key_of_a_recipe_has_a_meaning() -> None:
    lines = [line for line in read("reference/recipe.md").splitlines() if line.startswith("| `")]
    assert len(lines) > 100
    assert not [line for line in lines if line.rstrip().endswith("|  |")]


def test_every_verb_and_kind_is_in_the_pages() -> None:
    from aepipe.cli import VERBS
    from docs.generate import kinds

    for verb in VERBS:
        assert f"\n## {verb}\n" in read("reference/cli.md"), f"the reference has no `aepipe {verb}`"
    written = "".join(page.read_text(encoding="utf-8") for page in PAGES if page not in pages())
    for verb in VERBS:
        assert f"aepipe {verb}" in written or f"[`{verb}`]" in written, f"no guide shows `aepipe {verb}`"
    for kind in kinds.of_choices()["objective"]:
        assert f"`{kind}`" in read("concepts/autoencoders.md"), f"concepts/autoencoders.md lacks the objective {kind}"
    for kind in kinds.of_choices()["index.kind"]:
        assert f"`{kind}`" in read("concepts/index.md"), f"concepts/index.md lacks the index {kind}"
    for kind in kinds.of_sources():
        assert f"`{kind}`" in read("guide/sources.md"), f"guide/sources.md lacks the source {kind}"


def test_the_tree_is_the_real_one() -> None:
    block = re.search(r"```text\n(aepipe/.*?)```", read("contributing/architecture.md"), re.DOTALL)
    assert block, "contributing/architecture.md shows the tree in a ```text block that begins with aepipe/"
    named: set[str] = set()
    stack: list[str] = []
    for line in block[1].splitlines():
        name = re.match(r"( *)(\S+)", line)
        if name:
            depth = len(name[1]) // 2
            stack = [*stack[:depth], name[2].rstrip("/")]
            named.add("/".join(stack))
            assert depth == 0 or re.match(r" *\S+ +\S", line), f"{stack[-1]}: the tree does not say what it is"
    for path in named:
        assert (ROOT / path).exists(), f"the tree names {path}, which is not there"
    top = {f"{folder}/{p.name}" for folder in ("aepipe", "flows") for p in (ROOT / folder).iterdir()}
    rooms = {str(p.parent.relative_to(ROOT)) for f in ("aepipe", "flows") for p in (ROOT / f).rglob("*.py")}
    expected = {p for p in top | rooms if not re.search(r"__|\.typed$|\.egg-info", p)}
    assert expected <= named, f"the tree lacks {sorted(expected - named)}"


def test_files_that_the_pages_name_exist() -> None:
    """Paths in code that begin with a folder of the project, and those of rooms in the architecture."""
    for page in [*PAGES, *ROOT.glob("*.md")]:
        if page in pages() or page.name == "CHANGELOG.md" or "benchmarks" in page.parts:
            continue
        for path in re.findall(r"`((?:aepipe|flows|tests|docs|data)/[\w./-]+)`", page.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), f"{page.relative_to(ROOT)} names {path}, which is not there"
    for path in re.findall(
        r"`((?:cli|report|pipeline|release|learn|sources|index|store|codes|evaluate)/[\w/]+\.py)`",
        read("contributing/architecture.md"),
    ):
        assert (ROOT / "aepipe" / path).is_file(), f"architecture.md names {path}, which is not there"


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=lambda page: page.name)
def test_links_outside_the_site_lead_somewhere(page: Path) -> None:
    """Mkdocs checks the links between pages; these are those of README and its like."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), f"{page.name} links to {target}, which is not there"


def test_the_readme_stays_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text) < 7000
    assert len(text.splitlines()) <= 120


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    missing = [str(page.relative_to(DOCS)) for page in PAGES if str(page.relative_to(DOCS)) not in navigation]
    assert not missing, f"mkdocs.yml lacks {', '.join(missing)}"


def test_figures_of_the_readme_are_those_of_the_benchmarks() -> None:
    """Every number of a line of the table is, rounded, on the page that the line links to."""
    lines = re.findall(
        r"^\|(.*)\| \[\w+\]\((docs/benchmarks/\w+\.md)(?:#[\w-]+)?\) \|$", read("../README.md"), re.MULTILINE
    )
    assert len(lines) == 6
    for line, page in lines:
        known = [float(number) for number in numbers((ROOT / page).read_text(encoding="utf-8"))]
        for number in numbers(line):
            digits = len(number.partition(".")[2])
            assert float(number) in {round(one, digits) for one in known}, f"README.md: {number} is not on {page}"


def numbers(text: str) -> list[str]:
    return [found.replace(",", "") for found in re.findall(r"(?<![\w.-])\d[\d,]*(?:\.\d+)?(?![\d.])", text)]


def test_every_extra_is_in_the_guide() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for extra in project["project"]["optional-dependencies"]:
        assert f"`{extra}`" in read("guide/sources.md"), f"guide/sources.md lacks the extra {extra}"


def test_the_counts_of_faults_are_on_the_page() -> None:
    assert counts.table() in read("benchmarks/operations.md"), "`python -m tests.faults.counts` prints the table"


def test_the_tests_of_the_promises_exist() -> None:
    named = re.findall(r"`(tests/[\w/.]+)(?:::\w+)?`", read("concepts/reliability.md"))
    assert len(named) > 30
    assert [name for name in named if not (ROOT / name).is_file()] == []
