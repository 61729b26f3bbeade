"""Trainings that several processes share out: what is asked for, what they say, and one of them killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe import engines, errors, recipe
from aepipe.engines import Together
from aepipe.errors import EngineError, FullError, ItemError, RecipeError, StoreError, TrainingError
from aepipe.pipeline import cluster, launch, worker
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.launch import Launch
from aepipe.pipeline.pretrain import pretrain
from aepipe.pipeline.resolve import ResolvedRecipe, resolve
from aepipe.pipeline.views import views
from aepipe.store.artifacts import Ref, Store

TABLE: dict[str, Any] = {
    "name": "shared",
    "source": {"kind": "vectors", "path": "vectors.npy", "split": {"test": 0.1}},
    "layers": [{"net": {"kind": "dense", "width": 24}, "corruption": {"kind": "mask", "rate": 0.3}}],
    "code": {"bits": 8},
    "compute": {"device": "cpu", "precision": "float32", "shards": 2},
}


def planned(folder: Path, **fit: Any) -> ResolvedRecipe:
    """Return the recipe of some vectors, which are made where they are missing."""
    if not (folder / "vectors.npy").exists():
        np.save(folder / "vectors.npy", np.random.default_rng(0).random((600, 32), np.float32))
    table = json.loads(json.dumps(TABLE))
    table["layers"][0]["fit"] = {"epochs": 1, "batch": 32, **fit}
    return resolve(recipe.parse(table, folder / "shared.toml"))


def outputs(store: Store, ref: Ref) -> dict[str, Any]:
    return store.manifest(ref).outputs


@pytest.mark.parametrize(
    ("text", "expected"), [("1", None), ("2", Launch(2)), ("3@10.0.0.1:29500", Launch(3, "10.0.0.1:29500"))]
)
def test_processes_are_read(text: str, expected: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Launch.of(text) == expected
    monkeypatch.setenv(launch.VARIABLE, text)
    assert Launch.of() == expected
    assert Launch.of("1") is None


def test_what_is_asked_for_holds_for_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(launch.VARIABLE, raising=False)
    with launch.asked("2"):
        assert Launch.of() == Launch(2)
        with launch.asked("3"), launch.asked(None):
            assert Launch.of() == Launch(3)
        assert Launch.of() == Launch(2)
    assert Launch.of() is None


def test_the_tasks_of_a_run_share_out_as_asked(tmp_path: Path) -> None:
    job = pytest.importorskip("flows.job")
    planned(tmp_path)
    (tmp_path / "shared.toml").write_text(
        'name = "shared"\n[source]\nkind = "vectors"\npath = "vectors.npy"\n'
        '[[layers]]\nnet = { kind = "dense", width = 4 }\n'
        "[code]\nbits = 8\n[compute]\nshards = 2\n",
        encoding="utf-8",
    )
    with launch.asked("2"):
        assert job.open_job(str(tmp_path / "shared.toml"), shelf=str(tmp_path / "shelf")).processes == Launch(2)
    with launch.asked("3"), pytest.raises(RecipeError, match=r"compute\.shards: 2, and 3 processes"):
        job.open_job(str(tmp_path / "shared.toml"))


@pytest.mark.parametrize("text", ["0", "two", "-1", "2@", "2@10.0.0.1", "2@:29500", "2@host:port"])
def test_other_texts_are_no_processes(text: str) -> None:
    with pytest.raises(RecipeError, match=r"is no number of processes; allowed: 2, or 2@10\.0\.0\.1:29500"):
        Launch.of(text)


def test_more_processes_than_slices_are_refused_before_anything_starts() -> None:
    with pytest.raises(RecipeError, match=r"compute\.shards: 2, and 3 processes .* --set compute\.shards=3"):
        Launch(3).check(2)
    Launch(2).check(2)


def test_the_loop_has_an_interface() -> None:
    assert launch.interface_of("127.0.0.1") == "lo"
    assert launch.interface_of("203.0.113.9") == ""


def test_errors_of_the_first_process_are_raised_here() -> None:
    launch._heard("not from us\n")
    launch._heard('{"what": "step", "stage": "layer 1", "done": 1, "total": 2, "note": ""}\n')
    for error in (TrainingError("so it is"), FullError("so it is"), ItemError("so", "it is")):
        with pytest.raises(type(error), match=r"^so:? it is$"):
            launch._heard(json.dumps({"what": "error", **errors.told(error)}))


class Gathering:
    """An engine that runs nothing, and says what a cluster might say."""

    def __init__(self, *lines: str, error: Exception | None = None) -> None:
        self.lines, self.error = lines, error
        self.asked: list[Any] = []

    def together(self, work: Together, count: int, heard: Callable[[str], None]) -> None:
        """Say what the processes might tell."""
        self.asked += [work, count]
        for line in self.lines:
            heard(line)
        if self.error is not None:
            raise self.error


def test_what_a_cluster_says_is_written_as_torchrun_would(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = worker.line("step", stage="layer 1", done=1, total=2, note="")
    seat = worker.line("seat", text="process 1 of 2, pid 7, on 10.0.0.1")
    engine = Gathering(seat, step, error=EngineError("lost again and again"))
    monkeypatch.setattr(engines, "resolve", lambda: engine)
    order = {"launch": asdict(Launch(2, limit=9.0)), "recipe": {"compute": {"device": "cuda"}}}
    cluster.share_out(order, "/mnt/store")
    said = capsys.readouterr()
    assert said.out.splitlines()[1] == step
    assert said.err == "process 1 of 2, pid 7, on 10.0.0.1\n"
    assert engine.asked == [Together(worker.seated, {"order": order, "store": "/mnt/store"}, 1.0, 9.0), 2]
    with pytest.raises(EngineError, match=r"^lost again and again$"):
        launch._heard(said.out.splitlines()[-1])


def test_a_cluster_trains_in_a_store_that_all_machines_see(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engines, "resolve", Gathering)
    with pytest.raises(StoreError, match="a store that is a folder which all of them see"):
        Launch(2).run(Store("s3://bucket/store"), planned(tmp_path), Ref("layer", "0" * 64), "pretrain", {})


def test_a_killed_process_is_started_again_and_the_weights_are_those_of_one(tmp_path: Path) -> None:
    resolved = planned(tmp_path, epochs=60)
    one, two = (Store(tmp_path / name) for name in ("one", "two"))
    expected = outputs(one, pretrain(one, resolved, views(one, resolved, ingest(one, resolved.source)), []))
    cut = views(two, resolved, ingest(two, resolved.source))
    killed: list[int] = []
    watch = threading.Thread(target=_kill_one, args=(two.root, killed))
    watch.start()
    made = pretrain(two, resolved, cut, [], processes=Launch(2, save_every=0.1))
    watch.join()
    assert len(killed) == 1
    assert outputs(two, made) == expected
    assert not list((two.root / "work").iterdir())


def _kill_one(root: Path, killed: list[int]) -> None:
    """Kill the second process of the training once there is a checkpoint; the first may be waiting for it."""
    _wait_for(lambda: list(root.glob("work/*/checkpoint.safetensors")))
    agents = [pid for pid in _children(os.getpid()) if "torch.distributed.run" in _command(pid)]
    workers = [pid for agent in agents for pid in _children(agent) if launch.WORKER in _command(pid)]
    os.kill(max(workers), signal.SIGKILL)
    killed.append(max(workers))


def _wait_for(found: Callable[[], Any], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not found() and time.monotonic() < until:
        time.sleep(0.01)


def _children(pid: int) -> list[int]:
    told = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(one) for one in told.stdout.split()]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    except OSError:
        return ""
