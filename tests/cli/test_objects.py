"""Every verb on object storage, beside the same on a folder: equal digests, equal answers."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from aepipe.cli.app import app
from aepipe.errors import SHUT, UNABLE
from aepipe.store import registry
from aepipe.store.artifacts import KINDS, Ref, Store
from aepipe.store.backends import objects
from aepipe.store.backends.objects import Objects
from tests.support.objects import KEY, ObjectServer
from tests.support.plain_flows import RECIPE, plain_flows

TIMES = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d\+00:00)?|\d+\.\d s")


@pytest.fixture(scope="module", autouse=True)
def _plain() -> Iterator[None]:
    with plain_flows():
        yield


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe and its pictures, in which the verbs run."""
    write_pictures(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_pictures(folder: Path) -> None:
    """Write a recipe and 40 pictures of two kinds, and a further one beside them."""
    drawn = np.random.default_rng(5)
    for n in range(41):
        kind = f"tiny/{'dark' if n % 2 else 'light'}/{n:02d}.png" if n < 40 else "new.png"
        file = folder / kind
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = drawn.integers(0, 100, (8, 8)) + 120 * (n % 2 == 0)
        Image.fromarray(pixels.astype(np.uint8)).save(file)
    (folder / "tiny.toml").write_text(RECIPE.format(name="tiny"))


def verb(home: Store, *words: str) -> Result:
    """Run a verb on a store."""
    result = CliRunner().invoke(app, [*words, "--home", home.address], prog_name="aepipe")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def said(home: Store, *words: str) -> str:
    """Return what a verb says, without what differs from store to store and from minute to minute."""
    result = verb(home, *words)
    assert result.exit_code == 0, (words, result.output)
    return TIMES.sub("TIME", result.stdout).replace(home.address, "STORE").replace(str(home.root), "STORE")


def everything(store: Store) -> dict[Ref, object]:
    """Return the files of all artifacts, by their sha256."""
    return {ref: store.fresh().manifest(ref).outputs for kind in KINDS for ref in store.refs(kind)}


def new_picture(here: Path, n: int) -> None:
    Image.fromarray(np.full((8, 8), n, np.uint8)).save(here / "tiny" / "dark" / f"new-{n}.png")


def test_every_verb_on_object_storage(here: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = Store(here / "folder"), Store(bucket)

    def both(*words: str) -> str:
        """Run a verb on both stores, and compare."""
        ours, theirs = (said(store, *words) for store in stores)
        assert ours == theirs, words
        return theirs

    both("run", "tiny.toml", "-q")
    assert everything(stores[0]) == everything(stores[1])
    first = registry.resolve(stores[1], "tiny")[1]
    picture = str(here / "tiny" / "dark" / "01.png")
    assert '"rank": 1' in both("query", picture, "-k", "5", "--json")
    both("list", "--json")
    both("show", "--json")
    new_picture(here, 3)
    assert "1 row" in both("add", picture, str(here / "tiny" / "dark" / "new-3.png"))
    both("remove", "light/02.png")
    new_picture(here, 9)
    both("refresh", "-q")
    both("nightly", "tiny.toml", "-q")
    assert registry.resolve(stores[1], "tiny")[1] != first
    both("promote", first.digest, "--why", "a test")
    both("rollback", "--why", "a test")
    both("query", picture, "-k", "5", "--json")
    exported = []
    for store in stores:
        assert verb(store, "export", "codes").exit_code == 0
        exported.append({file.name: file.read_bytes() for file in Path("codes").rglob("*") if file.is_file()})
        shutil.rmtree("codes")
    assert exported[0] == exported[1] != {}
    both("history")
    both("verify")
    assert everything(stores[0]) == everything(stores[1])
    time_of_marks(monkeypatch)
    both("gc", "--keep", "1", "--hours", "0")
    assert everything(stores[0]) == everything(stores[1])
    both("verify", "--all")
    report = said(stores[1], "doctor", "--json")
    assert "can be written, and keeps conditions" in report
    assert '"bad"' not in re.sub(r'\{"level": "bad", "what": "packages".*?\}', "", report)
    both("rename", "tiny", "other")
    both("query", picture, "-k", "5", "--json", "--name", "other")
    both("drop", "other", "--yes")
    assert everything(stores[1]) == {}
    backend = stores[1].backend
    assert isinstance(backend, Objects)
    monkeypatch.setattr(objects, "GRACE", -10.0)
    backend.sweep()
    assert {key.partition("/")[0] for key in backend.bucket.listed("")} == {"log", "names.json", "store.json"}


def test_a_server_that_refuses_is_said_once(here: Path, bucket: str, object_server: ObjectServer) -> None:
    home = Store(bucket)
    home.create()
    with object_server.refusing(lambda *_: 403):
        found = verb(home, "doctor", "--json")
        assert verb(home, "list").exit_code == UNABLE
    assert found.exit_code == SHUT
    assert "no permission" in found.stdout
    assert KEY not in found.stdout


def time_of_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second pass for gc: servers round times to seconds."""
    monkeypatch.setattr("aepipe.release.gc.time", SimpleNamespace(time=lambda: time.time() + 3))


@pytest.mark.parametrize(
    "words",
    ["query x.png", "run tiny.toml", "list", "rollback", "gc", "serve", "doctor"],
)
def test_a_bucket_that_is_missing_is_named_alike_by_each_verb(here: Path, bucket: str, words: str) -> None:
    missing = Store(f"{bucket.partition('/store')[0]}-2/store")
    result = verb(missing, *words.split())
    assert f"{missing.address}: there is no such bucket; make it first" in result.output
    assert result.exit_code == (SHUT if words == "doctor" else UNABLE)
