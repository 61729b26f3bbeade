"""Answers to questions as Python shows them: a table of hits, or pictures in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from aepipe.report import hits
from aepipe.sources.packages import extras_named

if TYPE_CHECKING:
    import pandas as pd

    from aepipe.release.query import Answer
    from aepipe.release.release import Release
    from aepipe.release.search import Hit  # noqa: F401  named by the class below

AnswerT = TypeVar("AnswerT", bound=hits.Answer)
HitT = TypeVar("HitT", bound=hits.Hit)


class Answered(Generic[AnswerT, HitT]):
    """The answers to questions, in the order asked.

    Attributes:
        answers: one for each question, each with its ``question`` and its ``hits``.
    """

    def __init__(self, columns: Sequence[str], answers: Sequence[AnswerT]) -> None:
        self._columns = columns
        self.answers = tuple(answers)

    def __len__(self) -> int:
        return len(self.answers)

    def __iter__(self) -> Iterator[AnswerT]:
        return iter(self.answers)

    def __getitem__(self, place: int) -> AnswerT:
        return self.answers[place]

    @property
    def hits(self) -> list[HitT]:
        """All hits, one question after another."""
        return [cast("HitT", hit) for one in self.answers for hit in one.hits]

    def to_pandas(self) -> pd.DataFrame:
        """Return a line for each hit: query, rank, id, key, label, measures, the source's columns."""
        with extras_named():
            import pandas as pd

        fixed = ("query", "rank", "id", "key", "label", "distance", "similarity", "confidence", "cosine")
        lines: list[dict[str, Any]] = []
        for one in self.answers:
            for hit in one.hits:
                row = (one.question.text, hit.rank, hit.row.id, hit.row.key, hit.row.label)
                measured = (hit.distance, hit.similarity, hit.confidence, hit.cosine)
                lines.append({**hit.row.columns, **dict(zip(fixed, (*row, *measured), strict=True))})
        names = [*fixed, *(name for name in self._columns if name not in fixed)]
        return pd.DataFrame(lines, columns=names)

    def __repr__(self) -> str:
        lines = []
        for one in self.answers:
            lines.append(f"{one.question.text}: {len(one.hits)} hits")
            lines += [f"  {_measures(hit)}  {hit.row.key}  {hit.row.label or ''}".rstrip() for hit in one.hits]
        return "\n".join(lines) or "no questions"


class Results(Answered["Answer", "Hit"]):
    """The answers to questions, in the order asked; a notebook shows them as pictures.

    Iterating yields :class:`aepipe.release.query.Answer`, each with its ``question`` and its ``hits``.

    Attributes:
        answers: one for each question.
    """

    def __init__(self, release: Release, answers: Sequence[Answer]) -> None:
        super().__init__(release.columns, answers)
        self._release = release

    def _repr_html_(self) -> str:
        from aepipe.report.page import answer_page

        return "".join(answer_page(self._release, one) for one in self.answers)


def _measures(hit: hits.Hit) -> str:
    cosine = "" if hit.cosine is None else f"  cosine {hit.cosine:.3f}"
    return f"{hit.distance:4} bits{cosine}"
