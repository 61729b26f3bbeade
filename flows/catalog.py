"""Find recipes by name: those that come with the package, and files. Imports nothing slow."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from aepipe.errors import RecipeError

RECIPES = Path(__file__).with_name("recipes")


def is_recipe(text: str) -> bool:
    """Say whether a word on the command line means a recipe, and not a collection of items."""
    if text.endswith(".toml"):
        return True
    return "://" not in text and not glob.has_magic(text) and not Path(text).expanduser().exists()


def recipe_file(text: str) -> Path:
    """Return the file of a recipe, given its path, or its name if it comes with the package.

    Raises:
        RecipeError: there is no such file and no such name.
    """
    file = Path(text).expanduser()
    if file.is_file() or (file.exists() and text not in packaged()):
        return file
    if text not in packaged():
        raise RecipeError(f"{text}: there is no such file or folder; recipes that come along: {', '.join(packaged())}")
    return RECIPES / f"{text}.toml"


def recipe_files(words: Sequence[str]) -> list[Path]:
    """Return the files of recipes, each once.

    Args:
        words: each is a recipe as for :func:`recipe_file`, a folder of recipes, a glob, or the name of a folder of
            recipes that comes with the package.

    Raises:
        RecipeError: a word is none of these, or the folder holds no recipe.
    """
    return list(dict.fromkeys(file.absolute() for word in words for file in _files_of(word)))


def packaged() -> list[str]:
    """Return the names of packaged recipes; those in folders, as ``zoo/vae``, come last."""
    names = [str(file.relative_to(RECIPES).with_suffix("")) for file in RECIPES.rglob("*.toml")]
    return sorted(names, key=lambda name: ("/" in name, name))


def _files_of(word: str) -> Iterator[Path]:
    """Give the recipes that one word stands for, in the order of their names."""
    path = Path(word).expanduser()
    if glob.has_magic(word) and not path.exists():
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if name.endswith(".toml"))
    elif path.is_dir() or (not path.exists() and (RECIPES / word).is_dir()):
        found = sorted((path if path.is_dir() else RECIPES / word).glob("*.toml"))
    else:
        found = [recipe_file(word)]
    if not found:
        raise RecipeError(f"{word}: there are no recipes (*.toml)")
    yield from found
