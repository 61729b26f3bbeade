"""The boundary: help, completion, what is imported, and which status ends what."""

from __future__ import annotations

import ast
import errno
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import typer

from aepipe.cli import VERBS, main
from aepipe.cli.app import Verbs
from aepipe.cli.main import THREAD_LIMITS
from aepipe.errors import (
    STATUS,
    BusyError,
    CorruptError,
    ExtraError,
    FullError,
    GateError,
    NotFoundError,
    QueryError,
)
from aepipe.sources import extras
from aepipe.sources.packages import EXTRAS
from aepipe.store.artifacts import Ref, Store
from tests.cli.conftest import Aepipe

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch",
    "prefect",
    "pandas",
    "pyarrow",
    "rich",
    "pydantic",
    "sklearn",
    "onnx",
    "matplotlib",
    "jinja2",
    "fsspec",
    "asyncio",
    "aepipe.store.backends.objects",
    "aepipe.learn",
    "aepipe.pipeline.resolve",
)


def _python(script: str, *, home: Store, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, without what this one's environment says of threads."""
    kept = {name: value for name, value in os.environ.items() if name not in THREAD_LIMITS}
    given = {**kept, "PYTHONPATH": str(ROOT), "AEPIPE_HOME": str(home.root), **environment}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, cwd=cwd, env=given, capture_output=True, text=True, check=False)


def test_a_cold_query_imports_nothing_heavy(full_store: Store, boot: Path, tmp_path: Path) -> None:
    hits, heavy, own, threads = _cold_query(full_store, tmp_path, str(boot), "--picture", "hits.png")
    assert '"rank": 1' in hits
    assert heavy == "[]"
    assert not {"cli.run", "cli.show", "cli.releases", "cli.progress"} & set(ast.literal_eval(own))
    assert threads == "['1', '1', '1']"


def test_nor_does_one_in_words(colours: Store, tmp_path: Path) -> None:
    hits, heavy, *_ = _cold_query(colours, tmp_path, "red", "--not", "white")
    assert '"query": "red - white"' in hits
    assert heavy == "[]"


def test_nor_does_one_in_known_words(known_colours: Store, tmp_path: Path) -> None:
    hits, heavy, *_ = _cold_query(known_colours, tmp_path, "something red")
    assert '"understood": ["red"' in hits
    assert heavy == "[]"


def test_a_refresh_of_what_has_not_changed_starts_no_server_and_loads_nothing_that_trains(
    own_store: tuple[Store, Ref], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, ref = own_store
    monkeypatch.delenv("PREFECT_API_URL", raising=False)  # that server would record the refresh
    script = """
import sys
sys.argv = ["aepipe", "refresh"]
from aepipe.cli.main import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
unused = ("torch", "prefect", "sklearn", "scipy", "onnx", "matplotlib", "jinja2", "flows", "aepipe.learn")
print([name for name in unused if name in sys.modules])
"""
    found = _python(script, home=store, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    said, loaded = found.stdout.splitlines()
    assert said == f"pictures: release {ref.short} is in service, the source has not changed"
    assert loaded == "[]"
    assert not (store.root / "prefect").exists()


def _cold_query(store: Store, folder: Path, *asked: str) -> list[str]:
    """Return what a query in a process of its own prints, the heavy modules it loads, those of ours, and its limits."""
    script = f"""
import sys, os
sys.argv = ["aepipe", "query", *{asked!r}, "-k", "3", "--json"]
from aepipe.cli.main import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print([name for name in {HEAVY!r} if name in sys.modules])
print(sorted(name.partition(".")[2] for name in sys.modules if name.startswith("aepipe.cli.")))
print([os.environ[name] for name in {THREAD_LIMITS!r}])
"""
    found = _python(script, home=store, cwd=folder)
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()


def test_threads_are_limited_for_light_verbs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in THREAD_LIMITS:
        monkeypatch.delenv(name, raising=False)
    for verb in (verb for verb, one in VERBS.items() if one.threads):
        main._set_threads([verb, "query"])
        assert not set(THREAD_LIMITS) & set(os.environ)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    main._set_threads(["--json", "query"])
    assert [os.environ[name] for name in THREAD_LIMITS] == ["3", "1", "1"], "what the user set stays"
    for name in THREAD_LIMITS[1:]:
        monkeypatch.delenv(name)


def test_help_lists_every_verb_with_its_first_line(aepipe: Aepipe) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        found = aepipe(*arguments)
        assert found.exit_code == 0
        listed = found.stdout.partition("Commands:")[2]
        assert [line.split()[0] for line in listed.splitlines() if re.match("  [a-z]", line)] == list(VERBS)
        for verb, (module, _) in VERBS.items():
            function = getattr(import_module(f"aepipe.cli.{module}"), verb)
            assert function.__doc__.partition("\n")[0] in " ".join(listed.split())


WITHOUT_SHELF = {"impute", "work"}
DISTRIBUTIONS = {"sklearn": "scikit-learn"}
"""What packages are called where they are installed from, if not as they are imported."""


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_has_an_example(aepipe: Aepipe, verb: str) -> None:
    found = aepipe(verb, "--help")
    assert found.exit_code == 0
    usage, empty, first, *others = found.stdout.splitlines()
    assert usage.startswith(f"Usage: aepipe {verb}")
    assert not empty
    assert first.startswith("  ")
    assert first.endswith(".")
    assert any(line.strip().startswith(f"aepipe {verb}") for line in others), "an example stands on a line of its own"
    assert max(map(len, others)) <= 104
    assert ("--home" in found.stdout) == (verb not in WITHOUT_SHELF)


def test_every_verb_is_short() -> None:
    for verb, (module, _) in VERBS.items():
        tree = ast.parse((ROOT / "aepipe" / "cli" / f"{module}.py").read_text())
        function = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == verb)
        body = function.body[1:]
        assert body[-1].end_lineno is not None
        assert body[-1].end_lineno - body[0].lineno < 25, f"{verb}: the work belongs into the library"


def test_completion_lists_verbs_and_options(full_store: Store, tmp_path: Path) -> None:
    script = "from aepipe.cli.main import main; main()"
    shell = {"_AEPIPE_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    verbs = _python(script, home=full_store, cwd=tmp_path, COMP_WORDS="aepipe ", **shell)
    assert verbs.stdout.split() == list(VERBS)
    some = _python(script, home=full_store, cwd=tmp_path, COMP_WORDS="aepipe ro", **shell)
    assert some.stdout.split() == ["rollback"]
    options = _python(
        script, home=full_store, cwd=tmp_path, COMP_WORDS="aepipe query --th", **{**shell, "COMP_CWORD": "2"}
    )
    assert options.stdout.split() == ["--thumbnails"]


def test_the_completion_script_is_for_this_program(aepipe: Aepipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: "bash")
    found = aepipe("--show-completion")
    assert found.exit_code == 0
    assert "_AEPIPE_COMPLETE=complete_bash" in found.stdout


def test_version(aepipe: Aepipe) -> None:
    assert aepipe("--version").stdout.startswith("aepipe")


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (BusyError("pictures: a run is already\nwriting"), 75, "aepipe: pictures: a run is already writing"),
        (QueryError("no such row"), 2, "aepipe: no such row"),
        (NotFoundError("no such release"), 2, "aepipe: no such release"),
        (CorruptError("codes.npy: corrupt"), 3, "aepipe: codes.npy: corrupt"),
        (FullError("no room"), 3, "aepipe: no room"),
        (PermissionError(13, "Permission denied", "log.jsonl"), 3, "aepipe: log.jsonl: Permission denied; give this"),
        (OSError(errno.EROFS, "Read-only file system", "locks"), 3, "aepipe: locks: Read-only file system; mount it"),
        (OSError(errno.EMFILE, "Too many open files"), 3, "aepipe: Too many open files; raise the limit"),
        (OSError(errno.EIO, "Input/output error", "codes.npy"), 3, "aepipe: codes.npy: Input/output error; look for"),
        (IsADirectoryError(21, "Is a directory", "log.jsonl"), 3, "aepipe: log.jsonl: Is a directory; `aepipe doctor`"),
        (MemoryError(), 3, "aepipe: the memory of this machine"),
        (typer.Abort(), 130, ""),
        (GateError("worse than before"), 1, "aepipe: worse than before"),
        (ExtraError("torch", "train"), 2, "aepipe: torch is not installed: pip install 'aepipe[train]'"),
        (ModuleNotFoundError("No module", name="pyarrow.parquet"), 2, "aepipe: pyarrow is not installed: pip install "),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 141, ""),
        (typer.Exit(3), 3, ""),
    ],
)
def test_how_errors_end(
    aepipe: Aepipe, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, said: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("aepipe.store.registry.history", fail)
    monkeypatch.setattr("aepipe.cli.app.os.dup2", lambda *_: None)
    found = aepipe("history")
    assert found.exit_code == status
    assert found.stderr.startswith(said)
    assert len(found.stderr.splitlines()) == (1 if said else 0)
    assert not found.stdout


@pytest.mark.parametrize(
    "bug", [KeyError("x"), ModuleNotFoundError("No module", name="aepipe.nothing"), AssertionError(), OSError("odd")]
)
def test_a_bug_is_one_line_with_the_file_of_its_traceback(
    aepipe: Aepipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bug: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise bug

    monkeypatch.setattr("aepipe.store.registry.history", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["aepipe", "postgresql://me:s3cret@host/db"])
    found = aepipe("history")
    assert found.exit_code == 70
    (line,) = found.stderr.splitlines()
    assert line.startswith(f"aepipe: unforeseen error, {type(bug).__name__}")
    (file,) = tmp_path.glob("aepipe-*.txt")
    assert str(file) in line
    assert "report" in line
    assert "Traceback (most recent call last)" in file.read_text()
    assert "postgresql://***@host/db" in file.read_text()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nothing"))
    found = aepipe("history")
    assert found.exit_code == 70
    assert "the traceback is above" in found.stderr


def _without_options(verb: Callable[[], None]) -> Callable[[], None]:
    def called() -> None:
        verb()

    return called


@pytest.mark.parametrize("verb", VERBS)
def test_no_error_of_any_verb_has_the_status_of_the_gate(
    aepipe: Aepipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    module = import_module(f"aepipe.cli.{VERBS[verb].module}")
    for error, status in (
        (PermissionError(13, "Permission denied", "log.jsonl"), 3),
        (ZeroDivisionError("nobody foresaw it"), 70),
        (BusyError("another run is writing"), 75),
    ):

        def fail(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(module, verb, fail)
        monkeypatch.setattr("aepipe.cli.app.flat", _without_options)
        found = aepipe(verb)
        assert found.exit_code == status
        assert len(found.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        ("", 0),
        ("--nothing", 2),
        (">/dev/full", 3),
        (">&-", 3),
        ("2>/dev/full --nothing", 2),
        ("2>&- --nothing", 2),
    ],
)
def test_how_a_process_ends(full_store: Store, tmp_path: Path, ends: str, status: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AEPIPE_HOME": str(full_store.root)}
    command = ["bash", "-c", f"{sys.executable} -m aepipe history {ends}"]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == status, found.stderr
    assert len(found.stderr.splitlines()) == (0 if not status or "2>" in ends else 1)


def test_a_package_that_cannot_be_imported_has_not_the_status_of_the_gate(full_store: Store, tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise RuntimeError('broken')")
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
sys.argv = ["aepipe", "history"]
from aepipe.cli.main import main
main()
"""
    found = _python(script, home=full_store, cwd=tmp_path)
    assert found.returncode == 70
    assert "RuntimeError: broken" in found.stderr


def test_the_statuses_are_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    assert all(f"| {status} | {meaning} |" in page for status, meaning in STATUS.items())


def test_a_wrong_verb_is_one_line_with_a_guess(aepipe: Aepipe) -> None:
    found = aepipe("qeury")
    assert found.exit_code == 2
    assert found.stderr == "aepipe: No such command 'qeury'. Did you mean 'query'? (see aepipe --help)\n"


def test_a_reader_that_stops_is_no_error(full_store: Store, boot: Path, tmp_path: Path) -> None:
    command = f"{sys.executable} -m aepipe query {boot.parents[2]} --json -k 40 | head -c 10; echo ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AEPIPE_HOME": str(full_store.root)}
    found = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert not found.stderr
    assert found.stdout.endswith("141\n")


@pytest.mark.parametrize("verb", ["query", "show", "evaluate", "rollback", "verify", "export"])
def test_without_a_release_one_line_says_what_to_do(aepipe: Aepipe, tmp_path: Path, verb: str) -> None:
    empty = Store(tmp_path / "empty")
    needed: dict[str, list[object]] = {"query": ["--id", 0], "export": [tmp_path / "out"]}
    found = aepipe(verb, *needed.get(verb, []), home=empty)
    assert found.exit_code == 2
    (line,) = found.stderr.splitlines()
    assert "aepipe run" in line
    assert not empty.root.exists(), "looking makes no store"


def test_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert extras()["av"] == "video"
    for package, extra in (EXTRAS | extras()).items():
        name = DISTRIBUTIONS.get(package, package.replace("_", "-"))
        listed = project["optional-dependencies"][extra]
        assert any(one.startswith(name) for one in listed), f"{package} is not in the extra {extra}"


def test_the_verbs_are_loaded_one_by_one() -> None:
    group = Verbs(name="aepipe")
    assert list(group.commands) == list(VERBS)
    assert group.commands["query"] is group.commands["query"]
    with pytest.raises(KeyError):
        group.commands["nothing"]
