"""Each file of a store, damaged in each way, and each verb: one line of ours, or the answer of a sound store.

A part of the combinations in the suite, all of them in ``make soak``.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("torch")

from aepipe.cli.app import app
from aepipe.errors import AepipeError
from aepipe.release import lifecycle
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Store
from tests.faults import counts
from tests.faults.damage import DAMAGES, as_others
from tests.support.plain_flows import plain_flows, write_collection
from tests.support.releases import make_release

EVERY = int(os.environ.get("AEPIPE_MATRIX", "1" if counts.ALL else "97"))
"""In the suite, one of so many combinations is tried."""
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
TRAINING = ("run", "run anew", "nightly", "nightly that trains")
"""Verbs that take seconds: one of :data:`FEW` of their combinations is tried."""
FEW = 7
SAID = (0, 1, 2, 3)
MAPPED = ("codes", "ids", "embedding", "blob", "offsets", "order", "removed", "by_id", "faiss", "onnx", "index", "card")
"""Words in the names of files that a question maps: it checks their form, and only verify every byte of them."""
Answers = dict[str, tuple[str, str]]


class Sound(NamedTuple):
    """A store without damage, beside its sources, what each verb does to it, and a file of each kind."""

    folder: Path
    words: dict[str, list[str]]
    answers: dict[str, str]
    after: dict[str, Answers]
    files: list[Path]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sound]:
    """A collection with additions and removals, new files in its source, and another collection."""
    folder = tmp_path_factory.mktemp("matrix")
    store = Store(folder / "store")
    with plain_flows(), pytest.MonkeyPatch.context() as patched, _quiet():
        patched.chdir(folder)
        patched.setattr("aepipe.cli.doctor.packages", lambda: iter(()))
        patched.setattr("aepipe.cli.app._drop_output", lambda: None)  # it is the output of this process
        write_collection(folder)
        (folder / "tiny" / "class0" / "torn.png").write_bytes(b"no picture")
        _done("run", "tiny.toml")
        old = Release.open(store, "tiny").ref
        for number in (100, 101, 200):
            write_collection(folder, "more", range(number, number + 1))
        shutil.copy(next((folder / "more").rglob("100.png")), folder / "more" / "zero.png")
        shutil.copy(next((folder / "more").rglob("200.png")), folder / "more" / "one.png")
        _done("add", "more/zero.png", "--name", "tiny")
        _done("remove", "--id", "4", "--name", "tiny")
        write_collection(folder, numbers=range(24, 27))
        shutil.copy(next((folder / "more").rglob("101.png")), folder / "tiny" / "class1" / "001.png")
        write_collection(folder, "other", range(40, 52))
        words = {name: [word.replace("OLD", old.digest) for word in words] for name, words in VERBS.items()}
        words = {name: [*one, *([] if name in OF_NO_COLLECTION else ["--name", "tiny"])] for name, one in words.items()}
        found = Sound(folder, words, {}, {}, _kinds(store))
        make_release(store, name="pictures", n=20, shape=(8, 8, 1))
        for name in VERBS:
            with _copied(found) as held:
                done = _ask(found, name)
                assert done.exit_code == 0, f"{name}: {done.output}"
                found.answers[name] = done.stdout
                found.after[name] = _content(held, "tiny")
        found.after["before"] = _content(store, "tiny")
        found.after["others"] = _content(store, "pictures")
        yield found


def test_no_file_that_is_damaged_gives_more_than_a_line(sound: Sound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(sound.folder))
    wrong, asked, refused, began = [], 0, 0, time.monotonic()
    with as_others() as stopped:
        for file, damage, verb in _cases(sound.files, stopped):
            with _copied(sound) as store:
                _damage(store.root / file, damage)
                done = _ask(sound, verb)
                found = list(_wrong(sound, store, file, damage, verb, done))
            asked += 1
            refused += done.exit_code != 0
            wrong += [f"{file} {damage}, {verb}: status {done.exit_code}, {one}" for one in found]
            if counts.ALL and found:
                print(wrong[-1], flush=True)  # noqa: T201  whoever waits wants to see
    print(f"{asked:,} combinations, {refused:,} refused, {len(wrong)} wrong, {time.monotonic() - began:.0f} s")  # noqa: T201
    counts.keep("matrix", what="files of a store x damages x verbs", tried=asked, refused=refused, wrong=len(wrong))
    assert asked >= 60
    assert not wrong, f"{len(wrong)} of {asked} combinations:\n" + "\n".join(wrong)


def _damage(file: Path, damage: str) -> None:
    """Damage a copy of a file, for its other name is that of the sound store."""
    kept = file.read_bytes()
    file.unlink()
    file.write_bytes(kept)
    DAMAGES[damage](file)


def _wrong(sound: Sound, store: Store, file: Path, damage: str, verb: str, done: Result) -> Iterator[str]:
    """Yield what should not be: more than a line, no line, a wrong answer, damage that became sound, others' loss."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("aepipe:")]
    if done.exit_code not in SAID or not isinstance(done.exception, SystemExit | None):
        yield f"{done.stderr.strip()[-300:]} {done.exception!r}"
    elif len(lines) > 1 and not verb.startswith("verify"):
        yield f"{len(lines)} lines: {lines}"
    elif done.exit_code in {2, 3} and not lines:
        yield "no line"
    elif done.exit_code == 3 and not any(part in lines[0] for part in (file.name, file.parent.name[:12] or file.name)):
        yield f"the file is not named: {lines[0]}"
    mapped = damage == "flipped" and any(word in file.name for word in MAPPED)
    if done.exit_code == 0 and verb in {"query", "ask", "where"} and done.stdout != sound.answers[verb] and not mapped:
        yield f"another answer: {done.stdout[:200]}"
    if verb in WRITING and done.exit_code == 0:
        yield from _laundered(sound, store, verb)
    if (others := _content(store, "pictures")) != sound.after["others"]:
        yield f"the other collection: {len(others)} rows instead of {len(sound.after['others'])}"


def _laundered(sound: Sound, store: Store, verb: str) -> Iterator[str]:
    """Yield what is sound by its digests, and not what the verb makes of a sound store."""
    try:
        if lifecycle.check_release(store, Release.open(store, "tiny").ref).damage:
            return
    except AepipeError:
        return
    found = _content(store, "tiny")
    expected = [sound.after[verb], sound.after["before"]]
    if found not in expected and {key: label for key, (_, label) in found.items()} not in [
        {key: label for key, (_, label) in one.items()} for one in expected
    ]:
        yield f"damage became sound: {sorted(found.items() ^ expected[0].items())[:4]}"


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


def _cases(files: list[Path], stopped: bool) -> Iterator[tuple[Path, str, str]]:
    """Yield a file of each kind, with each damage and each verb; a part of them where nobody asks for all."""
    number = 0
    for file in files:
        for damage in DAMAGES:
            for verb in VERBS:
                number += 1
                if number % (EVERY * (FEW if verb in TRAINING else 1)) == 0 and (damage != "unreadable" or stopped):
                    yield file, damage, verb


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
    if len(parts) < 3:
        return "/".join(parts)
    made = json.loads((path.parents[len(parts) - 3] / "manifest.json").read_bytes())
    return "/".join((parts[0], str(made["inputs"].get("stage")), str(made["facts"].get("kind")), *parts[2:]))


def _ask(sound: Sound, verb: str) -> Result:
    return CliRunner().invoke(app, [*sound.words[verb], "--home", "held"], prog_name="aepipe")


def _done(*words: str) -> None:
    done = CliRunner().invoke(app, [*words, "--home", "store"], prog_name="aepipe")
    assert done.exit_code == 0, done.output


def _linked(file: str, copy: str) -> None:
    """Link a sealed file, for nobody writes into one; copy the others."""
    (os.link if Path(file).parts[-2] not in {"store", "service", "ids", "locks"} else shutil.copy2)(file, copy)


@contextmanager
def _copied(sound: Sound) -> Iterator[Store]:
    """Give a copy of the store, which is gone at the end, with what verbs write beside it."""
    held = sound.folder / "held"
    shutil.copytree(sound.folder / "store", held, copy_function=_linked)
    try:
        yield Store(held)
    finally:
        for path in (held, sound.folder / "out"):
            shutil.rmtree(path, ignore_errors=True)
        for path in sound.folder.glob("*.png"):
            path.unlink()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the log to warnings, for there are thousands of runs."""
    log = logging.getLogger("aepipe")
    with ExitStack() as held:
        held.callback(log.setLevel, log.level)
        log.setLevel(logging.ERROR)
        yield


def test_the_damages_are_different_ones(tmp_path: Path) -> None:
    """Each damage changes what a reader finds."""
    for name, damage in DAMAGES.items():
        file = tmp_path / name
        file.write_bytes(b"0123456789" * 30)
        damage(file)
        with as_others() as stopped:
            try:
                left = file.read_bytes()
            except OSError:
                continue
        assert left != b"0123456789" * 30 or not stopped, name
    assert registry.names(Store(tmp_path)) == []
