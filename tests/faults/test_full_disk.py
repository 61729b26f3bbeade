"""A disk fills up during a run: one line of error, status 3, and the old release answers."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from aepipe.release.lifecycle import verify
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from aepipe.store.io import array_in
from tests.faults.forge import Forge
from tests.faults.test_kill import RECIPE, paint

SIZE = 3 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_the_run_says_so_and_the_old_release_answers(small_disk: Path, forge: Forge, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    paint(tmp_path, range(40))
    shelf = small_disk / "shelf"
    first = forge.run(tmp_path / "recipe.toml", shelf)
    assert first.returncode == 0, first.stderr
    paint(tmp_path, range(40, 60))
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - 40_000))

    second = forge.run(tmp_path / "recipe.toml", shelf)
    assert second.returncode != 0
    assert f"FullError: {shelf}: no room left on the disk" in second.stderr
    release = Release.open(Store(shelf))
    assert release.ref.digest == first.stdout.strip()
    verify(Store(shelf), release.ref)
    assert not list(shelf.glob("*/.tmp-*"))

    ballast.unlink()
    third = forge.run(tmp_path / "recipe.toml", shelf)
    assert third.returncode == 0, third.stderr
    assert Release.open(Store(shelf)).ref.digest == third.stdout.strip() != first.stdout.strip()


def test_an_array_without_room_is_an_error_at_once_and_not_a_signal_later(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        array_in(small_disk / "large.npy", np.uint8, (2 * SIZE,))
    small = array_in(small_disk / "small.npy", np.uint8, (SIZE // 2,))
    small[:] = 7
    assert np.load(small_disk / "small.npy").sum() == 7 * (SIZE // 2)
