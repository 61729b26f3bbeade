"""The house holds what it promises: who imports whom, what is installed, what recipes say."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[1]
CODE = sorted([*(ROOT / "aepipe").rglob("*.py"), *(ROOT / "flows").rglob("*.py")])


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for file in CODE:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield file, node


def test_import_contracts() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_files_and_functions_are_short() -> None:
    long = [f"{file}: {n} lines" for file in CODE if (n := len(file.read_text().splitlines())) > 600]
    sizes = []
    for file, node in functions():
        assert node.end_lineno is not None
        sizes.append(node.end_lineno - node.lineno + 1)
        arguments = len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs)
        if sizes[-1] > 60 or arguments > 8:
            long.append(f"{file}:{node.lineno} {node.name}: {sizes[-1]} lines, {arguments} parameters")
    assert not long, "\n".join(long)
    assert statistics.median(sizes) <= 8
    assert sorted(sizes)[len(sizes) * 9 // 10] <= 20


def test_importing_does_nothing() -> None:
    """A module's top level defines things: it calls nothing for its effect, makes no folder, sets no environment."""
    allowed = re.compile(r"^(logger = )?logging\.getLogger|^if TYPE_CHECKING|^if __name__")
    for file in CODE:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            effect = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
            text = ast.unparse(node)
            assert not effect or allowed.match(text), f"{file}:{node.lineno}: {text}"
            assert "os.environ[" not in text or isinstance(node, ast.FunctionDef | ast.ClassDef), f"{file}: {text}"


def test_nothing_prints_outside_the_command_line() -> None:
    for file in CODE:
        if "cli" not in file.parts:
            calls = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)]
            assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], file


def test_no_pickles() -> None:
    """Weights that a package ships as .pth are read once, as nothing but numbers, in one place."""
    load = r"torch\.load\((?![^\n]*weights_only=True)"
    for file in CODE:
        text = file.read_text(encoding="utf-8")
        assert not re.search(rf"\bimport pickle|{load}|torch\.save\(|allow_pickle=True|joblib", text), file
        assert "torch.load(" not in text or file.name == "onnx_export.py", file


def test_every_recipe_says_what_to_expect() -> None:
    for file in (ROOT / "flows" / "recipes").rglob("*.toml"):
        head = re.match(r"((?:#.*\n)+)", file.read_text(encoding="utf-8"))
        assert head, f"{file}: no header comment"
        # Classes do not tell how good codes of copies are.
        figures = ("recall", "precision") if file.stem == "copies" else ("mAP", "P@100")
        for word in (*figures, "cores"):
            assert word in head[1], f"{file}: the header states no {word}"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built and unpacked without its dependencies into a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    made = subprocess.run(build, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    wheel = next(folder.glob("*.whl"))
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True)
    return folder / "site"


def test_the_wheel_works_outside_the_clone(installed: Path, tmp_path: Path) -> None:
    script = "import aepipe, flows, runpy, sys; print(aepipe.__file__); sys.argv = ['aepipe', '--help']; "
    script += "runpy.run_module('aepipe', run_name='__main__')"
    environment = {"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    command = [sys.executable, "-c", script]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert str(installed) in found.stdout
    assert "query" in found.stdout
    assert (installed / "flows" / "recipes" / "demo.toml").is_file()
    assert (installed / "flows" / "recipes" / "zoo" / "vae.toml").is_file()
    assert not (installed / "tests").exists()


def test_the_wheel_serves_its_page(installed: Path, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(installed), "PATH": "/nowhere", "HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "aepipe", "serve", "--port", "0", "--home", str(tmp_path / "store")]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as run:
        try:
            assert run.stdout
            address = run.stdout.readline().split()[-1]
            page = urlopen(address, timeout=20).read().decode()
            for part in re.findall(r'(?:src|href)="/(static/[^"]+)"', page):
                assert urlopen(address + part, timeout=20).read()
        finally:
            run.terminate()
            run.communicate(timeout=60)  # it says that it has ended
    assert "static/app." in page
    assert run.returncode == 0
