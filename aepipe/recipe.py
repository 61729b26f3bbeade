"""The recipe: the one description of a pipeline, typed, frozen and digestible.

A recipe is a TOML file. The keys of every pipeline stand here, with their defaults. Everything with a ``kind`` (a
source, a network, a likelihood, ...) is kept as a :class:`Choice`; the room that owns the kind holds a frozen
:class:`Options` model for it and resolves it with :func:`resolve`. So a new kind is one file, and this module never
changes for it.

Paths in a recipe are relative to the recipe's own file. A mistake is one line: file, key, and the allowed values.
"""

from __future__ import annotations

import math
import stat
import tomllib
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from aepipe.errors import RecipeError

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1, le=1_000_000_000)]

BYTES, DEPTH, INTEGER, PATH = 1 << 20, 32, 1 << 53, 4096
"""Limits of a recipe: bytes of its file, tables and lists within each other, integers, letters of a path."""
WIDEST, MOST_BITS, MOST_LAYERS, MOST_SHARDS = 65_536, 65_536, 64, 4096
"""Limits of networks: units of a layer, bits of a code, layers."""

_SHOWN = 500  # letters of a wrong value in a message
_IN_TOML = dict.fromkeys(("tuple_type", "list_type", "set_type"), "a list") | dict.fromkeys(
    ("dict_type", "mapping_type", "model_type", "model_attributes_type"), "a table"
)
"""What pydantic calls by the names of Python's types, in the words of a recipe."""
NAME_LETTERS, NAME_BYTES = 64, 120
"""Most letters of a name, and most bytes in UTF-8: it is part of file names, which some systems keep short."""


def in_names(letter: str) -> bool:
    """Say whether a name may have a letter: of any script, not upper-case, a digit, or ``._-``."""
    return letter in "._-" or (unicodedata.category(letter)[0] in "LMN" and letter == letter.lower())


def _checked_name(text: str) -> str:
    """Return a name, each accented letter of it as one, however it was typed.

    Raises:
        PydanticCustomError: it has other letters, begins with none, or is too long for a file name.
    """
    name = unicodedata.normalize("NFC", text)
    if not name:
        raise PydanticCustomError("name", "It is empty")
    if not all(map(in_names, name)):
        raise PydanticCustomError(
            "name", "It has other letters than lower-case ones and digits of any script, '.', '_' and '-'"
        )
    if unicodedata.category(name[0])[0] not in "LN":
        raise PydanticCustomError("name", "It begins with neither a letter nor a digit")
    if len(name) > NAME_LETTERS or len(name.encode()) > NAME_BYTES:
        limits = {"letters": NAME_LETTERS, "bytes": NAME_BYTES}
        raise PydanticCustomError("name", "It has more than {letters} letters or {bytes} bytes of UTF-8", limits)
    return name


def name_refusal(text: str) -> str:
    """Return why a text cannot be the name of a collection; empty where it can."""
    try:
        _checked_name(text)
    except PydanticCustomError as error:
        return error.message()
    return ""


class Options(BaseModel):
    """Base of everything read from a recipe: frozen, typed strictly, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


OptionsT = TypeVar("OptionsT", bound=Options)


class Choice(Options):
    """One choice among kinds, as ``"mask"`` or ``{ kind = "mask", rate = 0.25 }``.

    A list of choices is one choice of the kind ``chain``.
    """

    kind: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: object) -> object:
        """Read the short forms; every key but ``kind`` is an option of the kind."""
        if isinstance(value, str):
            return {"kind": value}
        if isinstance(value, list):
            return {"kind": "chain", "options": {"of": value}}
        if isinstance(value, Mapping) and set(value) != {"kind", "options"}:
            return {"kind": value.get("kind"), "options": {k: v for k, v in value.items() if k != "kind"}}
        return value


class FitRecipe(Options):
    """How one network is trained.

    Attributes:
        epochs: most passes over the training rows.
        batch: rows per step.
        lr: highest learning rate of AdamW.
        schedule: ``cosine`` lets it fall to zero over all epochs; ``constant`` keeps it.
        warmup: steps over which the learning rate rises from zero at the start.
        weight_decay: decoupled weight decay.
        patience: epochs without a better loss on the held-out slice after which training stops; 0 never stops early.
    """

    epochs: Positive = 10
    batch: Positive = 256
    lr: Annotated[float, Field(gt=0)] = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Annotated[int, Field(ge=0)] = 0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    patience: Annotated[int, Field(ge=0)] = 0


class LayerRecipe(Options):
    """One layer of the stack, trained on the codes of the layer below it.

    Attributes:
        net: the network that maps a row to a code and back.
        posterior: the form of the code: a point, bits, or a distribution.
        likelihood: the meaning of the decoder's output; its negative logarithm is the reconstruction loss.
        corruption: a change of the rows that the encoder sees in training.
        objective: the principle by which the layer is trained.
        fit: how long and how fast it is trained.
    """

    net: Choice
    posterior: Choice = Choice(kind="delta")
    likelihood: Choice = Choice(kind="gaussian")
    corruption: Choice = Choice(kind="none")
    objective: Choice = Choice(kind="reconstruction")
    fit: FitRecipe = FitRecipe()


class GrownOptions(Options):
    """Options that have got further keys since stores were written."""

    later: ClassVar[frozenset[str]]
    """Keys that are written only where they differ from their default, so that digests stay as they were."""

    @model_serializer(mode="wrap")
    def _as_before(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = written(self)
        fields = type(self).model_fields
        usual = {name for name in self.later if getattr(self, name) == fields[name].default}
        return {name: value for name, value in found.items() if name not in usual}


class CodeRecipe(GrownOptions):
    """The layer of bits on top of the stack.

    Attributes:
        bits: length of a code.
        normalize: standardise each bit's activation over the batch, so that no bit can settle on one side.
        binarize: kind of posterior that turns activations into bits.
        threshold: ``zero``, or the ``median`` of each bit's activation over the training rows (halves every bit).
        likelihood: of the codes of the topmost layer, which are decoded from the bits.
        corruption: a change of these codes in training.
        objective: the principle by which the layer of bits is trained.
        fit: how long and how fast it is trained.
        fallback: ``itq`` releases rotated components where they measure better on held-out rows than the trained bits;
            ``none`` always releases the trained bits.
        embedding: by what hits are ordered: by the code of the ``topmost`` layer below the bits, or by that of the
            ``lowest`` layer, in the order of distances, as an exact search of the rows would.
        stands_for: written by a run that released rotated components: the digest of the recipe whose trained bits
            measured worse.
    """

    later: ClassVar[frozenset[str]] = frozenset({"fallback", "embedding", "stands_for"})

    bits: Annotated[int, Field(ge=1, le=MOST_BITS)] = 64
    normalize: bool = True
    binarize: Choice = Choice(kind="straight-through")
    threshold: Literal["zero", "median"] = "zero"
    likelihood: Choice = Choice(kind="gaussian")
    corruption: Choice = Choice(kind="none")
    objective: Choice = Choice(kind="reconstruction")
    fit: FitRecipe = FitRecipe()
    fallback: Literal["itq", "none"] = "itq"
    embedding: Literal["topmost", "lowest"] = "topmost"
    stands_for: str = ""


class FinetuneRecipe(GrownOptions, FitRecipe):
    """End-to-end training of the unrolled stack with its binary bottleneck.

    Attributes:
        epochs: as in every training; with 0 the stack stays as it was pretrained.
        frozen: number of the lowest layers that stay as they were pretrained; fine-tuning takes their codes as its
            rows, and corrupts these.
        corruption: a change of the rows that the stack sees in training.
        edits: a change of whole items, before the frozen layers see them: of pictures, a ``jitter``. With pairs of
            rows, each of the two has an edit of its own.
        edits_within: how many times as far from the nearest other rows an edited row may be as it was itself; each part
            of an edit is weakened until it keeps to that. 0 takes edits as they are.
        objective: the principle of fine-tuning; some objectives train single layers only.
    """

    later: ClassVar[frozenset[str]] = frozenset({"edits", "edits_within"})

    epochs: Annotated[int, Field(ge=0, le=1_000_000_000)] = 10
    frozen: Annotated[int, Field(ge=0)] = 0
    corruption: Choice = Choice(kind="none")
    edits: Choice = Choice(kind="none")
    edits_within: Annotated[float, Field(ge=0)] = 1.1
    objective: Choice = Choice(kind="reconstruction")


class ViewsRecipe(GrownOptions):
    """The slices of the rows for training and for its curves.

    Attributes:
        holdout: share of the training rows kept back for early stopping and curves.
        evaluation: rows of the test split that are corrupted once, with the same result in every run.
        sample: share of the rows, drawn by their keys, that training and scores read; all others are only encoded.
    """

    later: ClassVar[frozenset[str]] = frozenset({"sample"})

    holdout: Share = 0.05
    evaluation: Annotated[int, Field(ge=0)] = 1000
    sample: Annotated[float, Field(gt=0, le=1)] = 1.0


class ComputeRecipe(GrownOptions):
    """Device, precision and memory of the training, and its random numbers.

    Attributes:
        device: ``auto`` takes a GPU if there is one; else any name that torch knows.
        precision: of the matrix products; ``auto`` is bfloat16 if the hardware has it, else float32.
        memory_gb: limit for training rows and the codes of one layer; larger ones are read from disk.
        draws: of the cells that a corruption changes, on a CPU: ``bits`` draws 16 bits for a cell, and takes half of
            the time of ``floats``. The same seed gives other weights with each.
        shards: slices that each batch is cut into, each with draws of its own; as many processes can share a training
            out. Another number gives other weights, of the same quality; the number of processes changes nothing.
    """

    later: ClassVar[frozenset[str]] = frozenset({"draws", "shards"})

    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    memory_gb: Annotated[float, Field(gt=0)] = 4.0
    draws: Literal["floats", "bits"] = "floats"
    shards: Annotated[int, Field(ge=1, le=4096)] = 1


class IndexRecipe(GrownOptions):
    """The index of a release.

    Attributes:
        kind: of the index.
        rows: ``all`` rows, or only those of the ``train`` split, so that test rows stay unseen queries.
        embedding: how the float embedding of each row is kept for re-ranking: ``int8``, a byte for each unit of the
            topmost layer, or ``none``.
        rerank: whether queries order hits by these embeddings, where they are kept and ``--fast`` is not asked for.
        shards: parts of the index, each with the rows whose ids say so; see :mod:`aepipe.index.shards`.
    """

    later: ClassVar[frozenset[str]] = frozenset({"rerank", "shards"})

    kind: Choice = Choice(kind="flat")
    rows: Literal["all", "train"] = "all"
    embedding: Literal["int8", "none"] = "int8"
    rerank: bool = True
    shards: Annotated[int, Field(ge=1, le=MOST_SHARDS)] = 1


class EngineRecipe(Options):
    """The engine that works on the parts of a large collection.

    It is in no digest, and not in the recipe that a release keeps.

    Attributes:
        kind: ``local``, ``ray``, ``dask`` or ``array``; empty takes the one of ``$AEPIPE_ENGINE``, else this machine.
        address: ``HOST:PORT`` of a cluster, or the folder of an array.
    """

    kind: Literal["", "local", "ray", "dask", "array"] = ""
    address: str = ""

    @property
    def text(self) -> str:
        """The engine as ``--engine`` names it; empty for none."""
        return f"{self.kind}://{self.address}" if self.address else self.kind


class EvaluateRecipe(Options):
    """The scoring of a release.

    Attributes:
        queries: most rows of the test split that are taken as queries; the rows of the train split are searched.
        rerank_recall: share of the 10 nearest rows by embedding that re-ranking has to find among the hits by code; the
            number of hits to look at is chosen on the queries.
    """

    queries: Positive = 1000
    rerank_recall: Annotated[float, Field(gt=0, le=1)] = 0.9


class GateRecipe(GrownOptions):
    """The conditions under which a new release replaces the one in service.

    Attributes:
        metric: the score that must not fall; without labels, ``walk_map`` or ``recall_at_10``.
        max_regression: the largest fall allowed against the release in service; a fall that may be chance, by its
            interval, is no reason to refuse.
        warn_below_itq: refuse the release if ITQ codes of the same length are better by more than the interval, warn if
            by less; ``"forbid"`` refuses it in both cases, false does not compare. An encoder in service stays.
        canaries: a file of queries whose answers are known, relative to the recipe; see :mod:`aepipe.release.canaries`.
        feedback: also ask the queries whose hits were marked on the page of the service.
        min_overlap: mean share of its 10 nearest rows that a row has to keep against the release in service.
    """

    later: ClassVar[frozenset[str]] = frozenset({"feedback"})

    metric: Literal["map", "map_at_1000", "map_at_1000r", "p_at_100", "precision_r2", "recall_at_10", "walk_map"] = (
        "map_at_1000"
    )
    max_regression: Annotated[float, Field(ge=0)] = 0.01
    warn_below_itq: bool | Literal["forbid"] = True
    canaries: str | None = None
    feedback: bool = True
    min_overlap: Annotated[float, Field(ge=0, le=1)] = 0.0


class Recipe(Options):
    """One pipeline, from raw data to a release.

    Attributes:
        name: of the release in service; lower-case letters and digits of any script, ``.``, ``_`` and ``-``.
        seed: of everything random.
        pretrain: false trains the same network from random weights, as a control.
        source: the kind of the collection, and where it is.
        features: how items become rows; its keys depend on the kind of the source.
    """

    name: Annotated[str, AfterValidator(_checked_name)]
    seed: Annotated[int, Field(ge=0)] = 0
    pretrain: bool = True
    source: Choice
    features: dict[str, Any] = Field(default_factory=dict)
    views: ViewsRecipe = ViewsRecipe()
    layers: Annotated[tuple[LayerRecipe, ...], Field(min_length=1, max_length=MOST_LAYERS, strict=False)]
    code: CodeRecipe = CodeRecipe()
    finetune: FinetuneRecipe = FinetuneRecipe()
    compute: ComputeRecipe = ComputeRecipe()
    index: IndexRecipe = IndexRecipe()
    evaluate: EvaluateRecipe = EvaluateRecipe()
    gate: GateRecipe = GateRecipe()
    engine: Annotated[EngineRecipe, Field(exclude=True)] = EngineRecipe()
    _file: Path = PrivateAttr(default=Path("recipe"))

    @property
    def file(self) -> Path:
        """The recipe's own file, for error messages and relative paths."""
        return self._file


def load(file: Path, *, source: str | None = None) -> Recipe:
    """Read a recipe.

    Args:
        file: the TOML file.
        source: a path in place of ``[source] path``, relative to the working directory.

    Raises:
        RecipeError: the file is missing or is not TOML; or a key is missing, unknown or has a wrong value.
    """
    try:
        table = tomllib.loads(text_of(file))
    except FileNotFoundError:
        raise RecipeError(f"{file}: no such recipe") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(f"{file}: not a readable TOML file: {error}") from None
    # Resolved here, as a path in a recipe is relative to the recipe and this one is not; an address stays as it is.
    if source is not None and isinstance(table.get("source"), dict):
        table["source"]["path"] = str(Path(source).expanduser().resolve()) if "://" not in source else source
    return parse(table, file)


def text_of(file: Path) -> str:
    """Return the text of a recipe, or of a file that it names; a pipe is not waited for.

    Raises:
        OSError, ValueError: it cannot be read, is no file or too large.
    """
    found = file.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise ValueError("a pipe or a device, not a file")
    if found.st_size > BYTES:
        raise ValueError(f"more than {BYTES:,} bytes")
    return file.read_text(encoding="utf-8")


def parse(table: Mapping[str, Any], file: Path) -> Recipe:
    """Check a recipe that is already a table.

    Raises:
        RecipeError: a key is missing, unknown or has a wrong value.
    """
    if beyond := _beyond(table):
        raise RecipeError(f"{file}: {beyond}")
    recipe = _validate(Recipe, table, where=str(file), at="")
    recipe._file = file
    return recipe


def _beyond(table: Mapping[str, Any]) -> str:
    """Return which value of a recipe is beyond its limits, and why; empty where none is."""
    waiting: list[tuple[str, object, int]] = [("", table, 0)]
    while waiting:
        at, value, depth = waiting.pop()
        if depth > DEPTH:
            return f"{at[:80]}: more than {DEPTH} tables and lists within each other"
        if isinstance(value, int) and abs(value) > INTEGER:
            return f"{at}: an integer beyond {INTEGER:,}"
        if isinstance(value, float) and not math.isfinite(value):
            return f"{at}: {value} is no finite number"
        if isinstance(value, str) and ("\0" in value or len(value) > (PATH if at.endswith("path") else BYTES)):
            return f"{at}: a text with a NUL character, or of more than {PATH:,} letters"
        inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
        waiting += [(f"{at}.{name}".lstrip("."), one, depth + 1) for name, one in inner]
    return ""


def resolve(kinds: Mapping[str, type[OptionsT]], choice: Choice, at: str) -> OptionsT:
    """Turn a choice into the options of its kind.

    Args:
        kinds: the options model of each kind that a room knows.
        choice: from the recipe.
        at: its place in the recipe, for the message: ``"layers.0.net"``.

    Raises:
        RecipeError: no such kind, or its options are wrong. The caller adds the file to the text.
    """
    if choice.kind not in kinds:
        raise RecipeError(f"{at}: unknown kind {choice.kind!r}; allowed: {', '.join(sorted(kinds))}")
    return options(kinds[choice.kind], choice.options, at)


def options(model: type[OptionsT], table: Mapping[str, Any], at: str) -> OptionsT:
    """Check a table of options against their model.

    Raises:
        RecipeError: as :func:`resolve`.
    """
    return _validate(model, table, where="", at=at)


def explain(model: type[BaseModel], detail: ErrorDetails, at: str) -> str:
    """Return one line: the key, the mistake, and the allowed values.

    Args:
        model: the model that refused.
        detail: the mistake, from pydantic.
        at: place of the model in the recipe.
    """
    # pydantic names validators in its path, which no user wrote.
    path = [part for part in detail["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    key = ".".join([*([at] if at else []), *map(str, path)]) or "recipe"
    if detail["type"] == "extra_forbidden":
        owner = _model_at(model, path[:-1])
        return f"{key}: unknown key; allowed: {', '.join(owner.model_fields)}"
    if detail["type"] == "missing":
        return f"{key}: missing"
    shown = repr(detail["input"])
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    if (wanted := _IN_TOML.get(detail["type"])) is not None:
        alike = f", as in [{shown}]" if wanted == "a list" and isinstance(detail["input"], str | int | float) else ""
        return f"{key}: input should be {wanted}{alike}, not {shown}"
    return f"{key}: {detail['msg'][0].lower()}{detail['msg'][1:]}, not {shown}"


def _validate(model: type[OptionsT], table: Mapping[str, Any], where: str, at: str) -> OptionsT:
    """Validate, and report the first mistake in one line."""
    try:
        return model.model_validate(dict(table))
    except ValidationError as error:
        details = error.errors()
        # An unknown key comes first: a misspelt key also leaves the right one missing, and names the cause.
        first = next((d for d in details if d["type"] == "extra_forbidden"), details[0])
        more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
        raise RecipeError(f"{f'{where}: ' if where else ''}{explain(model, first, at)}{more}") from None


def _model_at(model: type[BaseModel], path: list[int | str]) -> type[BaseModel]:
    """Return the model at the end of a path of field names and positions."""
    for part in path:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        if field is None:
            continue
        nested = [t for t in (field.annotation, *get_args(field.annotation)) if isinstance(t, type)]
        model = next((t for t in nested if issubclass(t, BaseModel)), model)
    return model
