"""The manifest of a release, ``release.json``: references, fingerprint, resolved recipe.

Schema 1 is a release as it was built. Schema 2 adds three keys at its end (``more_items``, ``more_rows``, ``changes``)
once rows were added or removed: a version that does not know them must not open such a release. Schema 3 is either of
them with an index in several shards: ``index`` is then a list. Schema 4 is any of them with items in several segments,
one for each part of the rows: ``items`` is then a list. Each has ``words`` as its last key where the release answers
words; a version that does not know it answers everything else. The order of keys is part of the file, because its bytes
are sealed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aepipe.errors import CorruptError, NotFoundError
from aepipe.store import layout, names
from aepipe.store.artifacts import Manifest, Ref, Store

BUILT, CHANGED, SHARDED, PARTED = 1, 2, 3, 4
"""Schemas: of a release as it was built, of one that rows were added to or removed from, of one in shards, and of one
whose items are in several segments."""
MENDED_BY = "go back with `aepipe rollback`, or make it again with `aepipe run`"


@dataclass(frozen=True, slots=True)
class ReleaseManifest:
    """References and facts of one release; :func:`dataclasses.replace` makes that of the next.

    Attributes:
        name: the collection's name in the registry; after it was renamed, the new one.
        fingerprint: of the encoder.
        n_bits: bits of a code.
        n_rows: rows in the index, added ones included and removed ones not.
        encoder: the model.
        codes: segments of codes; those of added rows come last, one for each of ``more_rows``.
        items: keys and columns of the rows that it was built from: one segment, or one for each of their parts.
        index: the index of these rows: one, or its shards in their order.
        scores: measured when the encoder went into service.
        source_rows: the rows that the release was built from.
        recipe: the resolved recipe.
        source_path: the folder that places of items are relative to.
        more_items: keys and columns of added rows.
        more_rows: added rows.
        changes: of the index, and the removed ids; None for a release as it was built.
        words: what answers questions in words; None where the recipe names none.
    """

    name: str
    fingerprint: str
    n_bits: int
    n_rows: int
    encoder: Ref
    codes: tuple[Ref, ...]
    items: tuple[Ref, ...]
    index: tuple[Ref, ...]
    scores: Ref
    source_rows: Ref
    recipe: dict[str, Any]
    source_path: str
    more_items: tuple[Ref, ...] = ()
    more_rows: tuple[Ref, ...] = ()
    changes: Ref | None = None
    words: Ref | None = None

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> ReleaseManifest:
        """Read the JSON object of any schema.

        Raises:
            KeyError, TypeError, AttributeError: it is not the object of a release.
            NotFoundError: a reference is none.
        """
        return cls(
            name=body["name"],
            fingerprint=body["fingerprint"],
            n_bits=body["n_bits"],
            n_rows=body["rows"],
            encoder=Ref.parse(body["encoder"]),
            codes=_refs(body["codes"]),
            items=_one_or_more(body["items"]),
            index=_one_or_more(body["index"]),
            scores=Ref.parse(body["scores"]),
            source_rows=Ref.parse(body["source_rows"]),
            recipe=body["recipe"],
            source_path=body["source_path"],
            more_items=_refs(body.get("more_items", ())),
            more_rows=_refs(body.get("more_rows", ())),
            changes=Ref.parse(body["changes"]) if body.get("changes") else None,
            words=Ref.parse(body["words"]) if body.get("words") else None,
        )

    @classmethod
    def read(cls, store: Store, ref: Ref) -> ReleaseManifest:
        """Read the manifest of a release, all bytes of it checked.

        Raises:
            NotFoundError: there is no such release.
            CorruptError: the file is not what was written, or of a schema that this version does not know.
        """
        try:
            file = store.verified(ref) / layout.Release.MANIFEST
        except NotFoundError as error:
            raise NotFoundError(f"{error}; {MENDED_BY}") from None
        try:
            body = json.loads(file.read_bytes())
            schema = body["schema"]
            if schema in (BUILT, CHANGED, SHARDED, PARTED):
                found = cls.parse(body)
                return replace(found, name=names.present(store, ref, found.name))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptError(f"{file}: corrupt, not a release ({error}); promote another one") from None
        raise CorruptError(f"{file}: schema {schema}; this version of aepipe reads {BUILT} to {PARTED}")

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that :meth:`parse` reads, its keys in the order of the file."""
        body = {
            "schema": self._schema,
            "name": self.name,
            "fingerprint": self.fingerprint,
            "n_bits": self.n_bits,
            "rows": self.n_rows,
            "encoder": str(self.encoder),
            "codes": [str(one) for one in self.codes],
            "items": _text(self.items),
            "index": _text(self.index),
            "scores": str(self.scores),
            "source_rows": str(self.source_rows),
            "recipe": self.recipe,
            "source_path": self.source_path,
        }
        if self.changes is not None:
            body |= {"more_items": [str(one) for one in self.more_items]}
            body |= {"more_rows": [str(one) for one in self.more_rows], "changes": str(self.changes)}
        return body if self.words is None else body | {"words": str(self.words)}

    def write(self, folder: Path) -> None:
        """Write the file into an existing folder."""
        text = json.dumps(self.to_json(), indent=1)
        (folder / layout.Release.MANIFEST).write_text(text, encoding="utf-8")

    @property
    def facts(self) -> dict[str, Any]:
        """Facts for the artifact's own manifest, so that releases can be listed without opening."""
        facts = {"name": self.name, "fingerprint": self.fingerprint, "n_bits": self.n_bits, "rows": self.n_rows}
        return facts if self.n_shards == 1 else {**facts, "shards": self.n_shards}

    @property
    def _schema(self) -> int:
        if len(self.items) > 1:
            return PARTED
        if self.n_shards > 1:
            return SHARDED
        return BUILT if self.changes is None else CHANGED

    @property
    def n_shards(self) -> int:
        """Parts of the index."""
        return len(self.index)

    @property
    def base_codes(self) -> tuple[Ref, ...]:
        """Codes of the rows that the release was built from."""
        return self.codes[: len(self.codes) - len(self.more_rows)]

    @property
    def added_codes(self) -> tuple[Ref, ...]:
        """Codes of added rows, one segment for each of ``more_rows``."""
        return self.codes[len(self.codes) - len(self.more_rows) :]

    @property
    def parts(self) -> list[tuple[str, Ref]]:
        """All references by kind, in order; where a kind has several, the oldest comes first.

        The kinds are encoder, codes, items, index, changes, scores, words and rows.
        """
        found: dict[str, tuple[Ref, ...]] = {
            "encoder": (self.encoder,),
            "codes": self.codes,
            "items": (*self.items, *self.more_items),
            "index": self.index,
            "changes": () if self.changes is None else (self.changes,),
            "scores": (self.scores,),
            "words": () if self.words is None else (self.words,),
            "rows": (self.source_rows, *self.more_rows),
        }
        return [(what, ref) for what, refs in found.items() for ref in refs]


def opened_part(store: Store, release: Ref, part: Ref) -> tuple[Path, Manifest]:
    """Return folder and manifest of a part of a release, after checking the length of its files.

    Raises:
        CorruptError: the part is missing or damaged.
    """
    try:
        return store.opened(part)
    except NotFoundError as error:
        raise CorruptError(f"release {release.short} refers to a missing part: {error}; {MENDED_BY}") from None


def _refs(texts: Any) -> tuple[Ref, ...]:  # noqa: ANN401  what JSON gave
    return tuple(Ref.parse(text) for text in texts)


def _one_or_more(said: Any) -> tuple[Ref, ...]:  # noqa: ANN401  what JSON gave
    return _refs(said if isinstance(said, list) else [said])


def _text(refs: Sequence[Ref]) -> str | list[str]:
    return str(refs[0]) if len(refs) == 1 else [str(one) for one in refs]
