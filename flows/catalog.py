"""Find recipes by name: those that come with the package, and files. Imports nothing slow."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aepipe.errors import RecipeError

RECIPES = Path(__file__).with_name("recipes")


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """The recipe that a run was asked for.

    Attributes:
        file: where it is.
        origin: ``given``; ``written``, derived from the items just now; or ``kept``, derived by an earlier run.
        text: of the file, where it was written just now.
        said: what the source holds, and what the recipe does not read, a sentence each.
    """

    file: Path
    origin: Literal["given", "written", "kept"] = "given"
    text: str = ""
    said: tuple[str, ...] = ()


def recipe_for(
    what: str, *, name: str | None = None, save: str | Path | None = None, kind: str | None = None
) -> RecipeFile:
    """Return a recipe by its path or name; for a collection of items, derive one and write it.

    A file that is there already and reads the same items is kept as it is: its owner may have changed it.

    Args:
        what: a recipe, or a folder, file or glob.
        name: of the collection.
        save: where a derived recipe is written; else ``NAME.toml`` in the working directory.
        kind: of source that is meant, where a recipe is derived; told by the files where it is None.

    Raises:
        RecipeError: there is no such recipe, or the file to be written is a recipe for something else.
        SourceError: the items are of no known kind.
        StoreError: the recipe cannot be written.
        UnclearError: they are of several kinds.
    """
    if is_recipe(what):
        return RecipeFile(recipe_file(what))
    from aepipe.pipeline.suggest import name_of, same_source, suggest
    from aepipe.store.io import check_target

    file = Path(save or f"{name or name_of(what)}.toml")
    if file.exists():
        if not same_source(file, what):
            raise RecipeError(f"{file}: is a recipe for something else; write this one elsewhere with --save FILE")
        return RecipeFile(file, "kept")
    check_target(file)
    _, text, held = suggest(what, name=name, folder=file.absolute().parent, kind=kind)
    file.write_text(text, encoding="utf-8")
    return RecipeFile(file, "written", text, tuple(held.describe()))


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
