"""Canaries: queries with known answers, asked of every release before it goes into service.

A TOML file::

    [[canary]]
    query = "boot.png"               # what `aepipe query` takes, a path relative to this file; or
    key = "test/boots/17.png"        # a row of the collection; or
    code = "9f3a62c0d1e4b587"        # a code of the encoder that is asked
    hits = ["train/boots/3.png"]     # `at_least` of these keys have to be among the first `within`; or
    label = "boots"                  # `at_least` of the first `within` have to have this label; or both
    not_hits = ["train/bags/9.png"]  # none of these keys may be among the first `within`
    within = 10
    at_least = 1
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from aepipe.errors import AepipeError, QueryError, RecipeError
from aepipe.recipe import Options, explain, text_of
from aepipe.release import query as queries
from aepipe.release.query import answer
from aepipe.release.release import Release
from aepipe.release.search import Hit, QueryOptions, Question, search_options


class Canary(Options):
    """One query and the hits that it must find.

    Attributes:
        query: an item from outside.
        key: a row of the collection, in place of ``query``.
        code: in hex, in place of both.
        hits: keys of wanted rows.
        label: of wanted rows.
        not_hits: keys of rows that must not be found.
        within: nearest rows that are looked at, without the row that asks.
        at_least: wanted rows among them.
    """

    query: str | None = None
    key: str | None = None
    code: str | None = None
    hits: Annotated[tuple[str, ...], Field(strict=False)] = ()
    label: str | None = None
    not_hits: Annotated[tuple[str, ...], Field(strict=False)] = ()
    within: Annotated[int, Field(ge=1)] = 10
    at_least: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _whole(self) -> Canary:
        """Check that it asks one question, and for hits that can be found."""
        if sum(asked is not None for asked in (self.query, self.key, self.code)) != 1:
            raise ValueError("either query or key or code is needed")
        if not self.wants and not self.not_hits:
            raise ValueError("hits or label is needed: the rows that are to be found; or not_hits")
        if not self.wants:
            return self
        most = min(self.within, len(self.hits)) if self.label is None else self.within
        if self.at_least > most:
            raise ValueError(f"at_least = {self.at_least}: no more than {most} can be found")
        return self

    @property
    def name(self) -> str:
        """Its name in messages."""
        if self.query is not None:
            return self.query
        return f"code {self.code}" if self.key is None else f"key {self.key}"

    @property
    def wants(self) -> bool:
        """Whether there are rows that have to be found."""
        return bool(self.hits) or self.label is not None

    def wanted(self, hit: Hit) -> bool:
        """Say whether a hit is wanted."""
        return hit.row.key in self.hits or self.label in hit.row.labels


class _File(Options):
    """A file of canaries."""

    canary: Annotated[tuple[Canary, ...], Field(strict=False, min_length=1)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one canary.

    Attributes:
        passed: whether enough wanted rows were found.
        said: a sentence on it.
    """

    passed: bool
    said: str


def read(file: Path) -> tuple[Canary, ...]:
    """Read a file of canaries.

    Raises:
        RecipeError: it is missing, is not TOML, or a canary is incomplete.
    """
    try:
        table = tomllib.loads(text_of(file))
        return _File.model_validate(table).canary
    except OSError as error:
        raise RecipeError(f"{file}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise RecipeError(f"{file}: {explain(_File, error.errors()[0], '')}") from None
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{file}: not TOML: {error}") from None


def ask(release: Release, file: Path) -> list[Outcome]:
    """Ask a release all canaries of a file.

    Raises:
        RecipeError: as :func:`read`.
    """
    return ask_all(release, read(file), file.parent)


def ask_all(release: Release, canaries: Iterable[Canary], base: Path) -> list[Outcome]:
    """Ask a release some canaries.

    Args:
        release: that is asked.
        canaries: the queries.
        base: folder that paths are relative to.
    """
    return [_asked(release, canary, base) for canary in canaries]


def _asked(release: Release, canary: Canary, base: Path) -> Outcome:
    """Ask one canary; one that cannot be asked has not passed."""
    try:
        question = _question(release, canary, base)
        if question.failure is not None:
            return Outcome(False, f"canary {canary.name}: {question.failure}")
        options: QueryOptions = {"k": canary.within, "others": question.row_id is not None}
        (found,) = answer(release, [question], search_options(release, options))
    except AepipeError as error:
        return Outcome(False, f"canary {canary.name}: {error}")
    if wrong := [hit.row.key for hit in found.hits if hit.row.key in canary.not_hits]:
        return Outcome(
            False, f"canary {canary.name}: found {wrong[0]}, which must not be among the first {canary.within}"
        )
    if not canary.wants:
        return Outcome(True, f"canary {canary.name}: nothing found that must not be")
    count = sum(map(canary.wanted, found.hits))
    wanted = f"{canary.at_least} of {_listed(canary)} within the first {canary.within}"
    return Outcome(count >= canary.at_least, f"canary {canary.name}: {count} found, wanted {wanted}")


def _question(release: Release, canary: Canary, base: Path) -> Question:
    if canary.key is not None:
        return next(queries.questions_from_rows(release, [], [canary.key]))
    if canary.code is not None:
        return next(queries.questions_from_codes(release, [canary.code]))
    assert canary.query is not None
    beside = base / canary.query
    questions = list(queries.questions_from_paths(release, [str(beside) if beside.exists() else canary.query]))
    if len(questions) != 1:
        raise QueryError(f"a canary asks with one item, not with {len(questions)}")
    return questions[0]


def _listed(canary: Canary) -> str:
    keys = ", ".join(canary.hits[:3]) + (f" and {len(canary.hits) - 3} more" if len(canary.hits) > 3 else "")
    return " or ".join(filter(None, [keys, f"label {canary.label}" if canary.label else ""]))
