"""Find recipes by name: those that come with the package, and files. Imports nothing slow."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aepipe.errors import RecipeError

if TYPE_CHECKING:
    from aepipe.store.artifacts import Store

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
    what: str,
    *,
    name: str | None = None,
    save: str | Path | None = None,
    kind: str | None = None,
    store: Store | None = None,
    settings: Mapping[str, Any] | None = None,
    write: bool = True,
    pixels: bool = False,
) -> RecipeFile:
    """Return a recipe by its path or name; for a collection of items, derive one and write it.

    A file that is there already and reads the same items is kept as it is: its owner may have changed it. A derived
    name is one that no other recipe here and no other collection of the store has.

    Args:
        what: a recipe, or a folder, file or glob.
        name: of the collection.
        save: where a derived recipe is written; else ``NAME.toml`` in the working directory.
        kind: of source that is meant, where a recipe is derived; told by the files where it is None.
        store: the one that it is going to be in.
        settings: values by key that a derived recipe is to have.
        write: false only says what would be written.
        pixels: compare photographs by their pixels where the network that sees what is in them is not installed.

    Raises:
        ExtraError: that network is not installed.
        RecipeError: there is no such recipe, or the file to be written is a recipe for something else.
        SourceError: the items are of no known kind.
        StoreError: the recipe cannot be written.
        UnclearError: they are of several kinds.
    """
    if is_recipe(what):
        return RecipeFile(recipe_file(what))
    from aepipe.pipeline.places import same_source
    from aepipe.pipeline.suggest import suggest
    from aepipe.store.io import check_target

    chosen, file, note = (name, Path(save or f"{name}.toml"), "") if name else _free(what, save, store)
    if file.exists():
        if not same_source(file, what):
            raise RecipeError(f"{file}: is a recipe for something else; write this one elsewhere with --save FILE")
        return RecipeFile(file, "kept")
    check_target(file)
    asked: dict[str, Any] = {"kind": kind, "settings": settings, "pixels": pixels}
    _, text, held = suggest(what, name=chosen, folder=file.absolute().parent, **asked)
    said = tuple(filter(None, [note, *held.describe()]))
    if not write:
        return RecipeFile(file, "written", text, said)
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:  # another run was quicker, and may mean other items
        return recipe_for(what, name=name, save=save, store=store, **asked)
    except OSError as error:
        raise RecipeError(f"{file}: cannot be written: {error.strerror}; name another with --save FILE") from None
    return RecipeFile(file, "written", text, said)


def _free(what: str, save: str | Path | None, store: Store | None) -> tuple[str, Path, str]:
    """Return a derived name that nothing else has, its file, and a word where it is not the first choice.

    Raises:
        RecipeError: all are taken.
    """
    from aepipe.pipeline.places import absolute, name_of, names_of, same_source
    from aepipe.release.origin import free_names

    path, first = what if "://" in what else str(absolute(what)), name_of(what)
    for name in free_names(store, path, names_of(what)) if store else names_of(what):
        file = Path(save or f"{name}.toml")
        if save or not file.exists() or same_source(file, what):
            note = f"{first} is the name of another collection, so this one is called {name}"
            return name, file, "" if name == first else note
    raise RecipeError(f"{what}: its name is taken, and those with a number, too; give one with --name")


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
