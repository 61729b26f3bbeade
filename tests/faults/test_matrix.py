"""Each file of a store, damaged in each way, and each verb that reads: one line of ours, or an answer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aepipe.cli.app import app
from aepipe.store.artifacts import Store
from tests.cli.conftest import stocked

ALL = "AEPIPE_SOAK" in os.environ
SAID = (0, 1, 2, 3)
Damage = Callable[[Path], None]


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    for at in range(len(data) // 3, len(data), max(1, len(data) // 3)):
        data[at] ^= 0x55
    file.write_bytes(data)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _other(file: Path) -> None:
    file.write_text("[1, {}]\n")


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _link(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)


DAMAGES: dict[str, Damage] = {
    "flipped": _flip,
    "cut": _cut,
    "emptied": lambda file: os.truncate(file, 0),
    "other text": _other,
    "a folder": _folder,
    "a link": _link,
    "removed": lambda file: file.unlink(),
    "unreadable": lambda file: file.chmod(0),
}
VERBS: dict[str, list[object]] = {
    "query": ["--id", 3],
    "show": [],
    "evaluate": [],
    "history": [],
    "verify": [],
    "doctor": [],
    "export": ["out"],
    "diff": [],
    "dedup": [],
    "gc": ["-n"],
}


@pytest.fixture
def sound(tmp_path: Path) -> Store:
    store, ref = stocked(tmp_path / "sound")
    VERBS["diff"] = [ref.digest[:12]]
    return store


def test_no_file_that_is_damaged_gives_more_than_a_line(
    sound: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aepipe.cli.doctor.packages", lambda: iter(()))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    wrong, asked = [], 0
    for file, damage, verb in _cases(sound):
        held = tmp_path / "held"
        shutil.copytree(sound.root, held)
        with _damaged(held / file, damage):
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
            words = [verb, *map(str, VERBS[verb]), "--home", str(held)]
            found = CliRunner().invoke(app, words, prog_name="aepipe")
        shutil.rmtree(held)
        asked += 1
        lines = [line for line in found.stderr.splitlines() if line.startswith("aepipe:")]
        if found.exit_code not in SAID or (verb != "verify" and len(lines) > 1):
            wrong.append(f"{file} {damage}, {verb}: status {found.exit_code}, {found.stderr.strip()[:300]}")
        elif found.exit_code in {2, 3} and not lines:
            wrong.append(f"{file} {damage}, {verb}: no line")
    print(f"{asked:,} combinations, {len(wrong)} wrong")  # noqa: T201  the count is wanted
    assert not wrong, f"{len(wrong)} of {asked} combinations:\n" + "\n".join(wrong)


def _cases(store: Store) -> Iterator[tuple[Path, str, str]]:
    """Yield a file of each kind, with each damage and each verb; a part of them where nobody asks for all."""
    kinds: dict[str, Path] = {}
    for path in sorted(store.root.rglob("*")):
        if path.is_file():
            parts = path.relative_to(store.root).parts
            kinds.setdefault("/".join((parts[0], *parts[2:])), path.relative_to(store.root))
            if parts[0] == "segment":
                kinds[f"{parts[1]}/{parts[-1]}"] = path.relative_to(store.root)
    for number, file in enumerate(dict.fromkeys(kinds.values())):
        for place, damage in enumerate(DAMAGES):
            if damage == "unreadable" and os.geteuid() == 0:
                continue
            for order, verb in enumerate(VERBS):
                if ALL or (number + place + order) % 12 == 0:
                    yield file, damage, verb


class _damaged:  # noqa: N801  it reads as a verb
    def __init__(self, file: Path, damage: str) -> None:
        self.file, self.damage = file, damage

    def __enter__(self) -> None:
        DAMAGES[self.damage](self.file)

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.file.chmod(0o600)
