"""Mutants: small changes of the code that the tests should notice.

``make mutants ROOM=evaluate`` tries 40 of those that mutmut makes of one room:

    python -m tests.mutants.run evaluate --most 40 --seed 0
    python -m tests.mutants.run learn --files objectives/psd.py --tests tests/learn/objectives/test_psd.py

Only functions that the tests of the room reach are changed, and each mutant is given to the tests that reach its
function. Changes of texts are left out, None in place of False, whether a zip is strict, and types of casts. A mutant
that lives stands in ``living.toml`` with the reason, or is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.mutants import forked

ROOT = Path(__file__).parents[2]
LIVING = Path(__file__).with_name("living.toml")
COPIED = ("aepipe", "flows", "tests", "docs", "data", "benchmarks")
TEXT = re.compile(r"""[rbf]*("[^"]*"|'[^']*')""")
STRICT = re.compile(r",\s*(strict=\w+)?\s*\)")
"""What says that the lists of a zip are of one length: without it, the same is done."""
CAST = re.compile(r"\bcast\([\w.\[\]| ]+,")
"""The type of a cast, which does nothing when it runs."""
QUIET = ("-n0", "-p", "no:cacheprovider")
CHILDREN = """
import os

if os.environ.get("MUTANT_UNDER_TEST") == "stats":
    os.environ["MUTANT_UNDER_TEST"] = "none"
"""
"""What a process of a test does as it starts: only mutmut itself counts what is reached, from the folder it is in."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one function.

    Attributes:
        name: its name for mutmut.
        file: the file, as a path inside the project.
        before, after: the lines that differ, without the spaces around them.
        killed: whether a test failed; None before it was tried.
    """

    name: str
    file: str
    before: str
    after: str
    killed: bool | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether only a text or the type of a cast is different, None stands for False, or a zip is not strict."""
        before, after = (CAST.sub("cast(", STRICT.sub(")", TEXT.sub("", one))) for one in (self.before, self.after))
        return before.replace("False", "None") == after.replace("False", "None")

    def __str__(self) -> str:
        return f"{self.file}\n  - {self.before}\n  + {self.after}"


def copied(room: str, files: Sequence[str], tests: Sequence[str]) -> Path:
    """Copy the project into a folder of its own, where mutmut changes one room of it."""
    folder = ROOT / "build" / "mutants" / room
    shutil.rmtree(folder, ignore_errors=True)
    left_out = shutil.ignore_patterns("__pycache__", "corpus")
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=left_out)
    for file in ROOT.glob("*.*"):
        if file.is_file():
            shutil.copy(file, folder)
    (folder / "sitecustomize.py").write_text(CHILDREN, encoding="utf-8")
    changed = [f"aepipe/{room}/{file}" for file in files]
    settings = {
        "source_paths": ["aepipe"],
        "only_mutate": changed,
        "also_copy": ["sitecustomize.py", *(name for name in COPIED if name not in ("aepipe", "tests"))],
        "pytest_add_cli_args": list(QUIET),
        "pytest_add_cli_args_test_selection": list(tests),
    }
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as project:
        project.write(
            "\n[tool.mutmut]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
        )
    return folder


def mutmut(folder: Path) -> None:
    """Make the mutants, and note which functions each test reaches; it tries the one that there is not."""
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1", forked.NONE]
    with (folder / "mutmut.log").open("w", encoding="utf-8") as log:
        subprocess.run(
            command, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=log, stderr=log, check=False
        )
    if not (folder / "mutants" / "mutmut-stats.json").is_file():
        raise SystemExit(f"mutmut made no mutants: see {folder / 'mutmut.log'}")


def made(folder: Path) -> Iterator[Mutant]:
    """Yield the mutants of a folder."""
    for known in sorted((folder / "mutants" / "aepipe").rglob("*.meta")):
        file = known.relative_to(folder / "mutants").with_suffix("")
        for name in json.loads(known.read_text(encoding="utf-8"))["exit_code_by_key"]:
            yield Mutant(name, str(file), "", "")


def stats(folder: Path) -> dict[str, Any]:
    """Return what mutmut noted: the tests that reach each function, and their times."""
    found: dict[str, Any] = json.loads((folder / "mutants" / "mutmut-stats.json").read_text(encoding="utf-8"))
    return found


def function(mutant: Mutant) -> str:
    """Return the function that a mutant changes, as mutmut writes it."""
    return mutant.name.rpartition("__mutmut_")[0]


def drawn(folder: Path, most: int, seed: int) -> list[Mutant]:
    """Draw mutants of functions that a test reaches, at most so many, without quiet ones."""
    tests = stats(folder)["tests_by_mangled_function_name"]
    mutants = [one for one in made(folder) if tests.get(function(one))]
    random.Random(seed).shuffle(mutants)
    found: list[Mutant] = []
    for mutant in mutants:
        shown = described(folder, mutant)
        if not shown.is_quiet and len(found) < most:
            found.append(shown)
        if len(found) == most:
            break
    return found


def described(folder: Path, mutant: Mutant) -> Mutant:
    """Add the lines that differ."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    here = Path.cwd()
    os.chdir(folder)
    try:
        lines = get_diff_for_mutant(mutant.name, path=mutant.file).splitlines()[2:]
    finally:
        os.chdir(here)
    before, after = (" ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in ("-", "+"))
    return replace(mutant, before=before, after=after)


def explained() -> list[dict[str, Any]]:
    """Return the mutants that may live, with their reasons."""
    listed: list[dict[str, Any]] = tomllib.loads(LIVING.read_text(encoding="utf-8")).get("mutant", [])
    return listed


def tried(folder: Path, mutants: Sequence[Mutant], tests: Sequence[str]) -> list[Mutant]:
    """Try mutants, and return them with their fates."""
    known = stats(folder)
    reaching = known["tests_by_mangled_function_name"]
    plan = folder / "plan.json"
    named = {mutant.name: sorted(reaching[function(mutant)]) for mutant in mutants}
    plan.write_text(json.dumps({"mutants": named, "seconds": known["duration_by_test"]}), encoding="utf-8")
    fates = plan.with_name(forked.FATES)
    fates.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir=.", "-p", "tests.mutants.forked", *QUIET, *tests]
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": ".", "MUTANT_UNDER_TEST": forked.NONE, forked.PLAN: str(plan)}
    with (folder / "tried.log").open("w", encoding="utf-8") as log:
        subprocess.run(command, cwd=folder / "mutants", env=os.environ | own, stdout=log, stderr=log, check=False)
    found = [line.split("\t") for line in fates.read_text(encoding="utf-8").splitlines()]
    killed = {name: fate == "True" for name, fate, _ in found}  # of NONE the last one counts
    if killed[forked.NONE]:
        raise SystemExit(f"{found[-1][2] or 'a test'} fails without any mutant: see {folder / 'tried.log'}")
    return [replace(one, killed=killed[one.name]) for one in mutants]


def main() -> int:
    """Try mutants of a room, print those that live without a reason, and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("room", help="a folder of aepipe/")
    parser.add_argument("--files", nargs="*", default=["*"], help="files of the room; all by default")
    parser.add_argument("--tests", nargs="*", help="tests to run; those of the room by default")
    parser.add_argument("--more-tests", nargs="*", default=[], help="tests of other rooms, besides")
    parser.add_argument("--most", type=int, default=40, help="mutants to try")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began = time.monotonic()
    tests = [*(given.tests or [f"tests/{given.room}"]), *given.more_tests]
    folder = copied(given.room, given.files, tests)
    mutmut(folder)
    fates = tried(folder, drawn(folder, given.most, given.seed), tests)
    listed = {(one["file"], one["before"], one["after"]) for one in explained()}
    living = [mutant for mutant in fates if not mutant.killed]
    unknown = [mutant for mutant in living if (mutant.file, mutant.before, mutant.after) not in listed]
    print(*unknown, sep="\n", end="\n" if unknown else "")
    killed, alike = len(fates) - len(living), len(living) - len(unknown)
    print(
        f"{len(fates)} mutants of {given.room}: {killed} killed, {alike} live for a known reason, {len(unknown)} live "
        f"({time.monotonic() - began:.0f} s)"
    )
    return bool(unknown)


if __name__ == "__main__":
    sys.exit(main())
