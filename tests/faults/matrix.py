"""Each file of a store, damaged in each way, and each verb; a program.

    python -m tests.faults.matrix FOLDER [--every 97] [--results FILE] [VERB...]

It makes a store in an empty folder. Then, for a file of each kind, and each damage, a child does the verbs, each on a
copy of the store with that file damaged. It prints a line of JSON for each, or appends it to the file of results: what
was tried, the status, and what is wrong. What stands in that file already is not tried again.

With ``failing.c`` preloaded, it knows what each verb asks the system for. A verb that asks for nothing that a damage
changes, such as for the length of a file of which some bits are flipped, cannot know of it, and is not tried: ``asks``
is false. Files and damages are drawn in an order of chance, always the same.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import logging
import os
import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple, TextIO

import pytest
from typer.testing import Result

from aepipe.errors import AepipeError
from aepipe.release import lifecycle
from aepipe.release.release import Release
from aepipe.store import layout, registry
from aepipe.store.artifacts import Store
from tests.faults import calls, programs, trials
from tests.faults.damage import DAMAGES, as_others
from tests.faults.trials import Tree
from tests.support.plain_flows import plain_flows, write_collection
from tests.support.releases import make_release

READING: dict[str, list[str]] = {
    "query": ["query", "--id", "3", "--json"],
    "ask": ["query", "tiny/class0/000.png", "--json"],
    "where": ["query", "--id", "3", "--where", "label = 'class0'", "--json"],
    "show": ["show"],
    "quarantine": ["show", "--quarantine"],
    "evaluate": ["evaluate"],
    "again": ["evaluate", "--again"],
    "history": ["history"],
    "verify": ["verify"],
    "verify all": ["verify", "--all"],
    "doctor": ["doctor"],
    "export": ["export", "out"],
    "diff": ["diff"],
    "dedup": ["dedup"],
    "reconstruct": ["reconstruct", "--id", "3"],
    "list": ["list"],
    "drop -n": ["drop", "tiny", "-n"],
    "gc -n": ["gc", "-n", "--hours", "0"],
}
WRITING: dict[str, list[str]] = {
    "run": ["run", "tiny.toml"],
    "run anew": ["run", "other.toml"],
    "nightly": ["nightly", "tiny.toml"],
    "nightly that trains": ["nightly", "tiny.toml", "--retrain", "always"],
    "refresh": ["refresh"],
    "add": ["add", "more/one.png"],
    "add in place": ["add", "tiny/class1/001.png", "--replace"],
    "remove": ["remove", "--id", "5"],
    "compact": ["compact"],
    "promote": ["promote", "OLD"],
    "rollback": ["rollback"],
    "gc": ["gc", "--keep", "1", "--hours", "0"],
    "rename": ["rename", "tiny", "small"],
    "drop": ["drop", "tiny", "-y"],
}
VERBS = READING | WRITING
OF_NO_COLLECTION = {
    "list",
    "drop -n",
    "rename",
    "drop",
    "gc -n",
    "gc",
    "run",
    "run anew",
    "nightly",
    "nightly that trains",
    "verify all",
    "doctor",
    "promote",
}
SAID = (0, 1, 2, 3)
MAPPED = ("codes", "ids", "embedding", "blob", "offsets", "order", "removed", "by_id", "faiss", "onnx", "index", "card")
"""Words in the names of files that a question maps: it checks their form, and only verify every byte of them."""
LISTS, ABOUT = frozenset("de"), frozenset("x")
"""Letters of the calls that list a folder, and of those that ask for length and mode of a file; see ``failing.c``."""
NAMED = {"a folder", "a link", "removed"}
"""Damages that the list of a folder shows."""
Answers = dict[str, tuple[str, str]]
"""Code and label of each row, by its key."""


class Case(NamedTuple):
    """A file of a store, what happens to it, and the verb that is done then."""

    file: str
    damage: str
    verb: str


class Matrix:
    """A store without damage, beside its sources, what each verb does to it, and a file of each kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store, self.held = Store(folder / "store"), Store(folder / "held")
        self.words: dict[str, list[str]] = {}
        self.answers: dict[str, str] = {}
        self.after: dict[str, Answers] = {}
        self.files: list[str] = []
        self.asked: dict[str, set[tuple[str, str]]] = {}
        self.tree = Tree("", (), ())

    def prepare(self) -> None:
        """Make a collection with additions and removals, new files in its source, and another collection."""
        os.chdir(self.folder)
        trials.import_early(self._prepare, self.folder / "exports")
        old = next(event.after for event in registry.history(self.store, "tiny"))
        for verb, words in VERBS.items():
            named = [] if verb in OF_NO_COLLECTION else ["--name", "tiny"]
            self.words[verb] = [*(word.replace("OLD", old) for word in words), *named, "--home", "held"]
        self.files = [str(file) for file in _kinds(self.store)]
        make_release(self.store, name="pictures", n=20, shape=(8, 8, 1))
        self.tree = Tree.of(self.store.root)
        for verb in VERBS:
            self.answers[verb], found, paths = trials.in_child(partial(self._sound, verb))
            self.after[verb], self.asked[verb] = _tuples(found), {(kind, place) for kind, place in paths}
        self.after["before"], self.after["others"] = _content(self.store, "tiny"), _content(self.store, "pictures")

    def _prepare(self) -> list[str]:
        folder = self.folder
        write_collection(folder)
        (folder / "tiny" / "class0" / "torn.png").write_bytes(b"no picture")
        _done("run", "tiny.toml")
        for number in (100, 101, 200):
            write_collection(folder, "more", range(number, number + 1))
        shutil.copy(next((folder / "more").rglob("100.png")), folder / "more" / "zero.png")
        shutil.copy(next((folder / "more").rglob("200.png")), folder / "more" / "one.png")
        _done("add", "more/zero.png", "--name", "tiny")
        _done("remove", "--id", "4", "--name", "tiny")
        write_collection(folder, numbers=range(24, 27))
        shutil.copy(next((folder / "more").rglob("101.png")), folder / "tiny" / "class1" / "001.png")
        write_collection(folder, "other", range(40, 52))
        return []

    def _sound(self, verb: str) -> tuple[str, Answers, list[tuple[str, str]]]:
        """Do a verb without damage; return its answer, the collection, and what it asks the system for."""
        self._copy()
        library, paths = ctypes.CDLL(None), set[tuple[str, str]]()
        with (
            calls.touched(library, self.held.root) if hasattr(library, "failing_watch") else nullcontext(paths) as paths
        ):
            done = trials.do(self.words[verb])
        assert done.exit_code == 0, f"{verb}: {done.output}"
        return done.stdout, _content(self.held, "tiny"), sorted(paths)

    def asks(self, case: Case) -> bool:
        """Say whether a verb can know of a damage; it can where nobody knows what it asks for."""
        known = self.asked[case.verb]
        folder = str(Path(case.file).parent).removeprefix(".")
        of_file = {kind for kind, place in known if place == case.file}
        listed = any(kind in LISTS and place == folder for kind, place in known)
        return (
            not known
            or bool(of_file - ABOUT)
            or (bool(of_file) and case.damage != "flipped")
            or (listed and case.damage in NAMED)
        )

    def try_all(self, cases: Sequence[Case], to: TextIO) -> None:
        """Try cases, and write a line about each; a child does those of one damage of one file."""
        for (file, damage), alike in itertools.groupby(cases, key=lambda case: case[:2]):
            left = [case.verb for case in alike]
            while left:
                how = trials.in_child(partial(self._try, file, damage, left, to))
                done = int((self.folder / "progress").read_text())
                if done == len(left):
                    break
                line = {**Case(file, damage, left[done])._asdict(), "asks": True, "status": None, "wrong": how}
                print(json.dumps(line), file=to, flush=True)
                left = left[done + 1 :]

    def _try(self, file: str, damage: str, verbs: Sequence[str], to: TextIO) -> list[str]:
        progress = self.folder / "progress"
        with as_others() as stopped:
            for number, verb in enumerate(verbs):
                progress.write_text(str(number))
                if damage != "unreadable" or stopped:
                    case = Case(file, damage, verb)
                    asks = self.asks(case)
                    status, wrong = self.attempt(case) if asks else (0, [])
                    line = {**case._asdict(), "asks": asks, "status": status, "wrong": wrong}
                    print(json.dumps(line), file=to, flush=True)
            progress.write_text(str(len(verbs)))
        return []

    def attempt(self, case: Case) -> tuple[int, list[str]]:
        """Do a verb on a damaged copy; return its status, and what is wrong."""
        self._copy()
        _damage(self.held.root / case.file, case.damage)
        done = trials.do(self.words[case.verb])
        return done.exit_code, [*self._wrong(case, done)]

    def _copy(self) -> None:
        """Begin with a fresh copy, without what a verb has written beside it."""
        for path in (self.held.root, self.folder / "out"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob("*.png"):
            path.unlink()
        self.tree.write(self.held.root)

    def _wrong(self, case: Case, done: Result) -> Iterator[str]:
        """Yield what should not be: several lines, none, a wrong answer, damage that became sound, others' loss."""
        lines, file, verb = trials.said(done), Path(case.file), case.verb
        named = (file.name, file.parent.name[:12] or file.name)
        if done.exit_code not in SAID or not isinstance(done.exception, SystemExit | None):
            yield f"{done.stderr.strip()[-300:]} {done.exception!r}"
        elif len(lines) > 1 and not verb.startswith("verify"):
            yield f"{len(lines)} lines: {lines}"
        elif done.exit_code in {2, 3} and not lines:
            yield "no line"
        elif done.exit_code == 3 and not any(part in lines[0] for part in named):
            yield f"the file is not named: {lines[0]}"
        mapped = case.damage == "flipped" and any(word in file.name for word in MAPPED)
        answers = done.exit_code == 0 and verb in {"query", "ask", "where"} and not mapped
        if answers and done.stdout != self.answers[verb]:
            yield f"another answer: {done.stdout[:200]}"
        if verb in WRITING and done.exit_code == 0:
            yield from self._laundered(verb)
        if (others := _content(self.held, "pictures")) != self.after["others"]:
            yield f"the other collection: {len(others)} rows instead of {len(self.after['others'])}"

    def _laundered(self, verb: str) -> Iterator[str]:
        """Yield what is sound by its digests, and not what the verb makes of a sound store."""
        try:
            if lifecycle.check_release(self.held, Release.open(self.held, "tiny").ref).damage:
                return
        except AepipeError:
            return
        found = _content(self.held, "tiny")
        expected = [self.after[verb], self.after["before"]]
        if found not in expected and _labels(found) not in [_labels(one) for one in expected]:
            yield f"damage became sound: {sorted(found.items() ^ expected[0].items())[:4]}"


def _damage(file: Path, damage: str) -> None:
    """Damage a copy of a file, for its other name is that of the sound store."""
    kept = file.read_bytes()
    file.unlink()
    file.write_bytes(kept)
    DAMAGES[damage](file)


def _content(store: Store, name: str) -> Answers:
    """Return code and label of all rows, by key; none where that cannot be read."""
    try:
        if name not in registry.names(store):
            name = next((one for one in registry.names(store) if one == "small"), name)
        release = Release.open(Store(store.root), name)
        rows = release.describe(release.items.ids)
        codes = release.codes_of(release.items.ids).hex()
        release.query(release.codes_of(release.items.ids[:2]), 3)
    except AepipeError:
        return {}
    return {row.key: (code, str(row.label)) for row, code in zip(rows, codes, strict=True)}


def _labels(found: Answers) -> dict[str, str]:
    return {key: label for key, (_, label) in found.items()}


def _tuples(found: dict[str, list[str]]) -> Answers:
    return {key: (code, label) for key, (code, label) in found.items()}


def _kinds(store: Store) -> list[Path]:
    """Return a file of each kind, below the store."""
    found: dict[str, Path] = {}
    for path in sorted(store.root.rglob("*")):
        parts = path.relative_to(store.root).parts
        if path.is_file() and parts[0] not in {"locks", "CACHEDIR.TAG", ".gitignore"}:
            found[_kind(path, parts)] = path.relative_to(store.root)
    return [*found.values()]


def _kind(path: Path, parts: tuple[str, ...]) -> str:
    """Return a word for the files that play the part of this one: the stage that made them, and their name."""
    if parts[0] == layout.Root.GRAPHS:
        return parts[0]
    if len(parts) < 3:
        return "/".join(parts)
    made = json.loads((path.parents[len(parts) - 3] / "manifest.json").read_bytes())
    return "/".join((parts[0], str(made["inputs"].get("stage")), str(made["facts"].get("kind")), *parts[2:]))


def _done(*words: str) -> None:
    done = trials.do([*words, "--home", "store"])
    assert done.exit_code == 0, done.output


def main() -> None:
    """Be the program."""
    asked = programs.asked(__doc__)
    logging.disable(logging.CRITICAL)
    matrix = Matrix(asked.folder)
    with plain_flows(), pytest.MonkeyPatch.context() as patched:
        patched.setattr("tempfile.tempdir", str(asked.folder))
        patched.setattr("aepipe.cli.doctor.packages", lambda: iter(()))
        patched.setattr("aepipe.cli.app._drop_output", lambda: None)  # it is the output of this process
        matrix.prepare()
        places = [*itertools.product(matrix.files, DAMAGES)]
        random.Random(0).shuffle(places)
        cases = [Case(*place, verb) for place in places for verb in VERBS]
        chosen = [case for case in cases if case.verb in (asked.verbs or VERBS)][asked.every // 2 :: asked.every]
        with programs.results(asked.results, *Case._fields) as (to, tried):
            matrix.try_all([case for case in chosen if case not in tried], to)


if __name__ == "__main__":
    main()
