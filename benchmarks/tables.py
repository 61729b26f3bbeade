"""The tables of docs/benchmarks: from which results, and how a row of a result becomes a line.

A column is a template as ``str.format`` takes it, filled with a row and the settings of its result. A tuple holds
several templates: the first that a row can fill is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Column = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Attributes:
        sources: names of results, whose rows follow each other.
        having: only rows with this field are shown.
        columns: title of each column and its template.
        only: values that a row must have to be shown.
        spread: rows that agree in ``by`` become one line; each is a mapping in it, named by the value of this field.
        by: see there.
    """

    sources: tuple[str, ...]
    having: str
    columns: Mapping[str, Column]
    only: Mapping[str, Any] = field(default_factory=dict)
    spread: str = ""
    by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Headline:
    """One line of the overview.

    Attributes:
        source: name of the result.
        named: the field whose values name rows in the templates.
        templates: what was measured, the figure, and what it is compared with.
        page: where all about it stands.
        only: values that a row must have.
    """

    source: str
    named: str
    templates: tuple[str, str, str]
    page: str
    only: Mapping[str, Any] = field(default_factory=dict)


def _times(arm: str, names: tuple[str, ...] = ("median", "mean", "p99")) -> str:
    return ", ".join(f"{{{arm}[{name}]:.3f}}" for name in names)


EDITS = (
    "resize",
    "encode",
    "crop",
    "turn",
    "mirror",
    "caption",
    "brighter",
    "contrast",
    "colours",
    "blur",
    "noise",
    "frame",
)
COLLECTIONS = ("photos", "vectors", "posts", "letter", "adult")
WIDTHS = ("search-32", "search-64", "search-128", "search-256")
FAISS = "FAISS flat, rows"
FASTER = ", ".join(f"{{multihash[x_{name}]:.1f}}" for name in ("median", "mean", "p99"))
SEARCHES: Mapping[str, Column] = {
    "bits": "{bits}",
    "rows": "{rows:,}",
    "distinct": "{distinct:.1%}",
    "k": "{k}",
    "FAISS flat over rows: median, mean, p99": _times(FAISS),
    "`flat`": (_times("flat"), "{flat[median]:.3f}"),
    "`multihash`": _times("multihash"),
    "`multihash` is faster: median, mean, p99": FASTER,
}
PEERS: Mapping[str, Column] = {
    "system": "{arm}",
    "build s": "{build:.1f}",
    "open ms": "{open:.0f}",
    "median ms": "{median:.3f}",
    "p99 ms": "{p99:.3f}",
    "recall": "{recall:.3f}",
    "disk MB": "{disk:,.0f}",
    "peak MB": "{peak:,.0f}",
}
RETRIEVAL = {"mAP": "{map:.3f}", "mAP@1000": "{map_at_1000:.3f}", "P@100": "{p_at_100:.3f}"}
FILLED = {"filled by": "{filler}"}


ENGLISH_CHINESE = {"en": "English", "zh": "Chinese"}
GERMAN_FRENCH = {"de": "German", "fr": "French"}


def _interval(system: str) -> str:
    return f"{{{system}:.3f}} ±{{{system}_half:.3f}}"


def _words(bits: int, name: str = "words", languages: Mapping[str, str] = ENGLISH_CHINESE) -> Table:
    """Return the table of words that find pictures, by codes of so many bits."""
    (first, one), (second, other) = languages.items()
    columns: dict[str, Column] = {
        "words and rows compared by": "{system}",
        f"held out, {one}": f"{{held_{first}:.3f}}",
        other: f"{{held_{second}:.3f}}",
        "share of floats": "{share_held:.3f}",
        f"known, {one}": f"{{known_{first}:.3f}}",
        f"{other}, known": f"{{known_{second}:.3f}}",
        "share, known": "{share_known:.3f}",
    }
    return Table((name,), "share_held", columns, only={"bits": bits})


def _three(prefix: str) -> str:
    return f"{{{prefix}_map:.3f}} / {{{prefix}_map_at_1000:.3f}} / {{{prefix}_p_at_100:.3f}}"


TABLES: Mapping[str, Table] = {
    "words-64": _words(64),
    "words-256": _words(256),
    "words-twitter-64": _words(64, "words-twitter", GERMAN_FRENCH),
    "words-twitter-256": _words(256, "words-twitter", GERMAN_FRENCH),
    "asymmetric": Table(
        ("asymmetric",),
        "floats",
        {"bits": "{bits}", "rows": "{rows:,}", "floats, ms": "{floats:.1f}", "code, ms": "{code:.1f}"},
    ),
    "words-not": Table(
        ("words",),
        "way",
        {"the unwanted words are": "{way}", "right of 10": "{right:.3f}", "unwanted of 10": "{unwanted:.3f}"},
    ),
    # retrieval.md
    "retrieval-fashion-mnist": Table(
        ("retrieval-fashion-mnist",),
        "metric",
        {
            "metric": "`{metric}`",
            "ours": _interval("ours"),
            "ITQ": _interval("itq"),
            "LSH": _interval("lsh"),
            "PCA, sign": _interval("pca_sign"),
            "spectral": _interval("spectral"),
            "exact, floats": _interval("float"),
        },
    ),
    "retrieval-prefixes": Table(
        ("retrieval-prefixes",),
        "bits",
        {
            "bits": "{bits}",
            "mAP": "{map:.3f} ± {map_sd:.3f}",
            "mAP@1000": "{map_at_1000:.3f} ± {map_at_1000_sd:.3f}",
            "P@100": "{p_at_100:.3f} ± {p_at_100_sd:.3f}",
            "distinct codes": "{distinct:.1%}",
            "ITQ of that length": "{itq_map:.3f}, {itq_map_at_1000:.3f}, {itq_p_at_100:.3f}",
        },
    ),
    "retrieval-trained-alone": Table(
        ("retrieval-trained-alone",),
        "bits",
        {"bits": "{bits}", "trained alone": _three("alone"), "prefix of one training of 128 bits": _three("prefix")},
    ),
    "retrieval-parts": Table(("retrieval-parts",), "recipe", {"recipe": "{recipe}", **RETRIEVAL}),
    "retrieval-collections": Table(
        ("retrieval-collections",),
        "collection",
        {
            "collection": "{collection}",
            "figure": "{metric}",
            "ours, 64 bits": ("{ours:.3f} ± {ours_spread:.3f}", "{ours:.3f}"),
            "exact search, raw": "{exact:.3f}",
            "cosine of 64 components": "{exact_components:.3f}",
            "ITQ, 64 bits": "{itq:.3f}",
        },
    ),
    "criterion": Table(
        ("criterion",),
        "walk_map",
        {
            "collection": "{collection}",
            "rows": "{count:,}",
            "recipes": "{recipes}",
            "walks": "{walk_map:.3f}",
            "recall": "{recall_at_10:.3f}",
            "copies": "{copies_found:.3f}",
            "clusters": "{clusters:.3f}",
            "entropy": "{entropy:.3f}",
            "independence": "{decorrelation:.3f}",
            "right": "{right:.0%}",
            "lost": "{lost:.4f}",
            "time": "{seconds:.1f} s",
        },
    ),
    "copies": Table(
        ("copies",),
        "overall",
        {
            "system": "{system}",
            **{name: f"{{{name}:.3f}}" for name in EDITS},
            "overall": "**{overall:.3f}** ± {overall_sd:.3f}",
        },
    ),
    "comparisons": Table(
        ("comparisons", "comparisons-usual"),
        "ratio",
        {
            "recipe": "{recipe}",
            "verb": "`{verb}`",
            "trainings": "{trainings}",
            "command, s": "{command_s:.1f}",
            "trainings, s": "{training_s:.1f}",
            "start, s": "{start_s:.1f}",
            "ratio": "{ratio:.2f}",
            "without the start": "{ratio_without_start:.2f}",
        },
    ),
    "rows": Table(
        (
            *(f"rows-{name}{more}" for name in COLLECTIONS for more in ("", "-more")),
            "rows-letter-whole",
            "rows-vectors-whole",
        ),
        "count",
        {
            "collection": "{collection}",
            "rows": "{count:,}",
            "seeds": "{seeds}",
            "mAP": "{ours_map:.3f}",
            "ITQ": "{itq_map:.3f}",
            "LSH": "{lsh_map:.3f}",
            "exact": "{float_map:.3f}",
            "recall@10": "{ours_recall_at_10:.3f}",
            "of ITQ": "{itq_recall_at_10:.3f}",
            "of LSH": "{lsh_recall_at_10:.3f}",
            "P@10 of an answer": "{answer_p_at_10:.3f}",
            "of exact search": "{float_p_at_10:.3f}",
            "recall of an answer": "{answer_hits_recall:.3f}",
            "trained codes in service": "{released} of {seeds}",
        },
    ),
    "pixels": Table(
        ("pixels", "pixels-before", "pixels-10000"),
        "collection",
        {
            "collection": "{collection}",
            "rows": "{count:,}",
            "queries": "{queries:,}",
            "seeds": "{seeds}",
            "derived recipe": _three("ours"),
            "a scale for each half of the bits": _three("before"),
            "the recipe of other rows": _three("plain"),
            "ITQ, 64 bits": _three("itq"),
            "exact search, pixels": _three("float"),
        },
    ),
    "confidence": Table(
        ("confidence",),
        "items",
        {
            "collection": "{collection}",
            "seeds": "{seeds}",
            "new questions": "{n_queries:,}",
            "items": "{items:.3f}",
            "`--fast`": "{fast:.3f}",
            "`-k 100`": "{many:.3f}",
            "`--where`": "{where:.3f}",
            "words": ("{words:.3f}", "–"),
            "words, `--where`": ("{words_where:.3f}", "–"),
            "false alarms": "{false_alarms:.1%}",
            "strangers told": "{found:.0%}",
        },
    ),
    "alarms": Table(
        ("alarms",),
        "told",
        {
            "collection": "{collection}",
            "seeds": "{seeds}",
            "new questions": "{n_queries:,}",
            "said to be unlike the collection": "{told:.1%}",
            "worst seed": "{told_worst:.1%}",
            "without a word that is known": "{without:.1%}",
        },
    ),
    "strangers": Table(
        ("confidence",),
        "stranger",
        {"collection": "{collection}", "strangers": "{stranger}", "told": "{told:.0%}"},
    ),
    "retrieval-kinds": Table(
        ("retrieval-kinds",),
        "recipe",
        {
            "collection": "{collection}",
            "recipe": "`{recipe}`",
            "figure": "{metric}",
            "ours": "{ours:.3f} ± {ours_sd:.3f}",
            "ITQ, 64 bits": "{itq:.3f}",
            "exact search, floats": "{exact:.3f}",
        },
    ),
    "quantisers": Table(
        ("quantisers-sentences", "quantisers-fashion-mnist"),
        "method",
        {"recipe": "`{collection}`", "method": "{method}", "bytes": "{bytes:,.0f}", **RETRIEVAL},
    ),
    "words-caltech": Table(
        ("words-caltech",),
        "accuracy",
        {
            "asked in": "{language}",
            "classes": "{classes}",
            "system": "{system}",
            "P@10": "{p_at_10:.3f}",
            "accuracy": "{accuracy:.3f}",
        },
    ),
    "words-far": Table(
        ("words-caltech",),
        "far",
        {
            "asked in": "{language}",
            "classes": "{classes}",
            "with a warning": "{far}",
            "their P@10": "{p_at_10_far:.3f}",
            "P@10 of the others": "{p_at_10_others:.3f}",
        },
    ),
    "hybrid": Table(
        ("hybrid",),
        "system",
        {"system": "{system}", "P@10": "{p_at_10:.3f}", "mAP@100": ("{map_at_100:.3f}", "–")},
    ),
    "retrieval-binarize": Table(
        ("retrieval-binarize",),
        "binarize",
        {
            "`binarize`": "{binarize}",
            **{f"{bits} bits": f"{{map_at_1000_{bits}:.3f}} / {{p_at_100_{bits}:.3f}}" for bits in (16, 32, 64, 128)},
        },
    ),
    "retrieval-pretraining": Table(
        ("retrieval-pretraining",),
        "network",
        {
            "network": "{network}",
            "rows": "{rows:,}",
            "mAP@1000 with": "{map_at_1000_with:.3f}",
            "without": "{map_at_1000_without:.3f}",
            "P@100 with": "{p_at_100_with:.3f}",
            "without it": "{p_at_100_without:.3f}",
        },
    ),
    # search.md
    "shards": Table(
        ("shards",),
        "ratio",
        {
            "kind": "`{kind}`",
            "rows": "{rows:,}",
            "shards": "{shards}",
            "one index, ms": "{one[median]:.3f}",
            "in turn, ms": "{in turn[median]:.3f}",
            "in threads, ms": "{in threads[median]:.3f}",
            "the slowest alone, ms": "{slowest[median]:.3f}",
            "in turn / one": "{ratio:.2f}",
        },
    ),
    "query": Table(
        ("query",),
        "process",
        {
            "process": "{process}",
            "median s": "{median_s:.3f}",
            "best s": "{best_s:.3f}",
            "x query": "{x_query:.2f}",
            "peak MB": "{peak_mb:.0f}",
        },
    ),
    # scale.md
    "engines-empty": Table(
        ("engines",),
        "ms",
        {"engine": "`{engine}`", "ready after, s": "{start:.1f}", "a part without work, ms": "{ms:.2f}"},
    ),
    "engines-processor": Table(
        ("engines-minute",),
        "marginal",
        {
            "engine": "`{engine}`",
            "processor, s": "{cpu:.1f}",
            "of one thread's": "{x:.2f}",
            "of it, for twice the parts": "{marginal:.2f}",
            "on the clock, s": "{seconds:.1f}",
            "for twice the parts, s": "{twice:.1f}",
        },
    ),
    "engines-kill": Table(
        ("engines",),
        "hurt",
        {
            "engine": "`{engine}`",
            "undisturbed, s": "{seconds:.1f}",
            "killed at, s": "{killed_at:.1f}",
            "with the kill, s": "{hurt:.1f}",
            "parts": "{parts}",
            "begun": "{begun}",
        },
    ),
    "faults": Table(
        ("faults-dask", "faults-ray"),
        "fault",
        {
            "engine": "`{engine}`",
            "fault": "{fault}",
            "runs": "{runs}",
            "all parts whole": "{whole}",
            "lost part begun again after, median, s": "{median:.1f}",
            "at most, s": "{longest:.1f}",
            "made twice, at most": "{twice}",
        },
    ),
    "simulation-kill": Table(
        ("simulation",),
        "off",
        {"engine": "{engine}", "measured, s": "{measured:.1f}", "simulated, s": "{model:.1f}", "off by": "{off:+.0%}"},
    ),
    "simulation": Table(
        ("simulation",),
        "lost",
        {
            "engine": "{engine}",
            "machines": "{workers:,}",
            **{f"parts of {seconds} s": f"{{parts of {seconds} s[lost]:.1%}}" for seconds in (10, 60, 600)},
        },
        spread="length",
        by=("engine", "workers"),
    ),
    "cost": Table(
        ("cost",),
        "unit",
        {
            "": "{what}",
            "unit": "{unit}",
            "1e9, pixels": "{1e+09 pixels:,.1f}",
            "1e9, a network": "{1e+09 backbone:,.1f}",
            "1e10, pixels": "{1e+10 pixels:,.1f}",
            "1e10, a network": "{1e+10 backbone:,.1f}",
        },
    ),
    "serving": Table(
        ("serving",),
        "goal",
        {"goal": "{goal}", "what": "{what}", "measured": "{measured}", "wanted": "{wanted}", "": "{is}"},
    ),
    "serving-told": Table(
        ("serving",),
        "told",
        {"what": "{told}", "value": "{value:,.2f}", "unit": "{unit}"},
    ),
    "search": Table(
        WIDTHS,
        "median",
        {name: text for name, text in SEARCHES.items() if name != "k"} | {"queries": "{queries}"},
        only={"k": 10},
        spread="arm",
        by=("bits", "rows", "distinct", "queries"),
    ),
    "search-all": Table(WIDTHS, "median", SEARCHES, spread="arm", by=("bits", "rows", "distinct", "k")),
    "search-xeon": Table(("search-64-xeon",), "median", SEARCHES, spread="arm", by=("bits", "rows", "distinct", "k")),
    "search-batch": Table(
        WIDTHS,
        "g_per_s",
        {
            "bits": "{bits}",
            "rows": "{rows:,}",
            "FAISS flat over rows": f"{{{FAISS}[g_per_s]:.1f}}",
            "`flat`": "{flat[g_per_s]:.1f}",
            "`multihash`, as if": "{multihash[g_per_s]:.3g}",
        },
        only={"threads": 2},
        spread="arm",
        by=("bits", "rows"),
    ),
    "search-xeon-batch": Table(
        ("search-64-xeon",),
        "g_per_s",
        {
            "threads": "{arm}",
            **{str(count): f"{{threads_{count}[g_per_s]:.1f}}" for count in (1, 2, 4, 8, 16)},
        },
        spread="threads",
        by=("arm",),
    ),
    "search-cascade": Table(
        ("search-cascade",),
        "first",
        {
            "bits": "{bits}",
            "first bits": "{first}",
            "found of the 10 nearest embeddings": "{recall:.3f}",
            "without the middle step": "{recall_without:.3f}",
        },
    ),
    "build": Table(
        ("build",),
        "kind",
        {
            "rows": "{rows:,}",
            "kind": "`{kind}`",
            "distinct": "{distinct:.1%}",
            "seconds": "{seconds:.1f}",
            "memory MB": "{memory_mb:,.0f}",
            "disk MB": "{disk_mb:,.0f}",
            "open ms": "{open_ms:.1f}",
        },
    ),
    "peers-64": Table(("peers-64",), "arm", PEERS),
    "peers-256": Table(("peers-256",), "arm", PEERS),
    "dedup": Table(
        ("dedup",),
        "radius",
        {
            "radius": "{radius}",
            "seconds": "{seconds:.1f}",
            "all pairs, seconds": "{all_pairs:.0f}",
            "groups": "{groups:,}",
            "largest": "{largest:,}",
            "peak MB": "{peak_mb}",
        },
    ),
    # scale.md
    "driver": Table(
        ("driver",),
        "items",
        {
            "items": "{items:,}",
            "rows are": "{form}",
            "night": "{night}",
            "parts": "{parts:,}",
            "parts made": "{made:,}",
            "peak, MB": "{peak_mb:,.0f}",
            "bytes an item": "{an_item:.0f}",
            "allowed, MB": "{allowed_mb:,.0f}",
            "CPU s": "{cpu_s:,.0f}",
        },
    ),
    "kept": Table(
        ("kept",),
        "kept",
        {
            "features kept": "{kept}",
            "night": "{night}",
            "read, CPU s": "{read_s:.1f}",
            "encode, CPU s": "{encode_s:.1f}",
            "rows written, MB": "{rows_mb:,.1f}",
            "listings written, MB": "{listing_mb:,.1f}",
            "codes written, MB": "{segment_mb:,.1f}",
        },
    ),
    "night": Table(
        ("night",),
        "night",
        {
            "night": "{night}",
            "parts": "{parts:,}",
            "parts made": "{made:,}",
            "rows, MB": "{rows_mb:,.1f}",
            "codes, MB": "{codes_mb:,.1f}",
            "items, MB": "{items_mb:,.1f}",
            "as one segment, MB": "{one_mb:,.1f}",
            "index, MB": "{index_mb:,.1f}",
            "all, MB": "{all_mb:,.1f}",
            "with items as one segment, MB": "{before_mb:,.1f}",
        },
    ),
    "night-items": Table(
        ("night",),
        "night",
        {
            "night": "{night}",
            "CPU s": "{items_s:.2f}",
            "as one segment, CPU s": "{one_s:.2f}",
            "peak, MB": "{items_peak_mb:.1f}",
            "as one segment, peak MB": "{one_peak_mb:.1f}",
        },
    ),
    "segments": Table(
        ("segments",),
        "segments",
        {
            "segments of codes, and of items": "{segments:,}",
            "CPU s": "{cpu_s:.3f}",
            "of one segment": "{of_one:.2f}",
        },
    ),
    # operations.md
    "bombs": Table(
        ("bombs",),
        "file",
        {
            "file": "{file}",
            "size, MB": "{size_mb:.2f}",
            "peak, MB": "{peak_mb:.0f}",
            "seconds": "{seconds:.1f}",
            "said": "{said}",
        },
    ),
    "update": Table(
        ("update",),
        "change",
        {
            "change": "{change}",
            "seconds": "{seconds:.2f}",
            "query before, ms": "{before_ms:.2f}",
            "meanwhile": "{meanwhile_ms:.2f}",
            "after": "{after_ms:.2f}",
        },
    ),
    "nightly": Table(
        ("nightly",),
        "night",
        {
            "night": "{night}",
            "command, s": "{command_s:.1f}",
            "of the first": "{command_share:.1%}",
            "flow, s": "{flow_s:.1f}",
            "of the first flow": "{flow_share:.1%}",
            **{stage: f"{{stages[{stage}]:.1f}}" for stage in ("verify", "ingest", "encode", "watch", "publish")},
            "judge": "{stages[judge]:.1f}",
        },
    ),
    "nightly-training": Table(
        ("nightly-training",),
        "training",
        {
            "training": "{training}",
            "seconds": "{seconds}",
            "bits that differ": "{bits_changed:.1%}",
            "before they were put in order": "{bits_changed_unordered:.1%}",
            "mAP": "{map:.3f}",
            "mAP@1000": "{map_at_1000:.3f}",
        },
    ),
    # training.md
    "ingest": Table(
        ("ingest",),
        "arm",
        {
            "arm": "{arm}",
            "images/s": "{images_per_s:,.0f}",
            "ratio": "{ratio:.2f}",
            "images/CPU s": "{images_per_cpu_s:,.0f}",
            "ratio of CPU s": "{cpu_ratio:.2f}",
        },
    ),
    "pretrain": Table(
        ("pretrain",),
        "arm",
        {
            "arm": "{arm}",
            "rows/s": "{rows_per_s:,.0f}",
            "x plain": "{x_plain:.2f}",
            "x pythae": "{x_pythae:.2f}",
            "test loss": "{test_loss:.3f}",
        },
    ),
    "pretrain-cuda": Table(
        ("pretrain-cuda",),
        "arm",
        {
            "arm": "{arm}",
            "rows/s": "{rows_per_s:,.0f}",
            "x plain": "{x_plain:.2f}",
            "test loss": "{test_loss:.3f}",
        },
    ),
    "processes": Table(
        ("processes",),
        "slices",
        {
            "slices of a batch": "{slices}",
            "processes": "{processes}",
            "rows/s": "{rows_per_s:,.0f}",
            "CPU ms a step": "{cpu_ms:.2f}",
            "x a whole batch": "{x_whole:.2f}",
            "weights": "{weights}",
        },
    ),
    "run-devices": Table(
        ("run-devices",),
        "device",
        {
            "device": "{device}",
            "all, s": "{seconds}",
            "fine-tuning, s": "{finetuning_s}",
            "mAP@1000": "{map_at_1000:.3f}",
            "P@100": "{p_at_100:.3f}",
        },
    ),
    "training-growth": Table(
        ("training-growth",),
        "images",
        {
            "images": "{images:,}",
            "all, s": "{seconds}",
            "neighbours, s": "{neighbours_s}",
            "an epoch of fine-tuning, s": "{epoch_s}",
            "ms per image and epoch": "{ms_per_image_and_epoch:.2f}",
        },
    ),
    "encode": Table(
        ("encode",), "arm", {"arm": "{arm}", "rows/s": "{rows_per_s:,.0f}", "x torch, DataLoader": "{ratio:.2f}"}
    ),
    "speed": Table(
        ("speed",),
        "model",
        {
            "model": "{model}",
            "aepipe, rows/s": "{aepipe:,.0f}",
            "pythae, rows/s": "{pythae:,.0f}",
            "ratio": "{ratio:.2f}",
            "test loss": "{loss:.2f}",
            "of pythae": "{pythae_loss:.2f}",
        },
    ),
    # zoo.md
    "zoo": Table(
        ("zoo",),
        "name",
        {
            "recipe": "{name}",
            "error, bits": "{error_bits:#.4g}",
            "error, float": "{error_float:#.4g}",
            "mAP@1000": "{map_at_1000:.3f}",
            "P@100": "{p_at_100:.3f}",
            "bit entropy": "{entropy:.3f}",
            "probe": "{probe:.3f}",
            "NMI": "{nmi:.3f}",
            "train, s": "{seconds}",
            "parameters": "{parameters:si}",
        },
    ),
    "zoo-errors": Table(
        ("zoo-members",),
        "error",
        {
            "network": "{network}",
            "test error, each seed": "{error[0]:.2f}, {error[1]:.2f}",
            "PCA with 30 components": "{pca:.2f}",
            "seconds": "{seconds:.0f}",
        },
    ),
    "zoo-evidence": Table(
        ("zoo-members",),
        "evidence",
        {
            "network": "{network}",
            "nats per test image, each seed": "{evidence[0]:.1f}, {evidence[1]:.1f}",
            "lower bound": "{bound[0]:.1f}, {bound[1]:.1f}",
        },
    ),
    "zoo-labels": Table(
        ("zoo-labels",),
        "random",
        {
            "seeds": "{seeds}",
            "random weights": "{random:.2%}",
            "pretrained": "{pretrained:.2%}",
            "difference": "{difference:+.1%}",
            "its standard deviation": "{difference_sd:.1%}",
        },
    ),
    "holes-letter": Table(
        ("holes-letter",),
        "filler",
        {
            **FILLED,
            "mean of 10 masks": "{rmse_mean:.4f}",
            "lowest to highest": "{rmse_low:.4f} to {rmse_high:.4f}",
            "CPU seconds": "{seconds:.0f}",
        },
    ),
    "holes-horse-colic": Table(
        ("holes-horse-colic-mcar", "holes-horse-colic-mar", "holes-horse-colic-mnar"),
        "filler",
        {
            "mechanism": "`{mechanism}`",
            "autoencoder": "{autoencoder[rmse_median]:.3f}",
            "mean": "{mean of the column[rmse_median]:.3f}",
            "Bayesian ridge": "{chained Bayesian ridge regressions[rmse_median]:.3f}",
            "extra trees": "{chained extremely randomised trees[rmse_median]:.3f}",
        },
        spread="filler",
        by=("mechanism",),
    ),
    "holes-adult": Table(
        ("holes-adult",),
        "filler",
        {**FILLED, "RMSE": "{rmse_mean:.4f}", "right words": "{right_mean:.1%}", "CPU seconds": "{seconds:.0f}"},
    ),
    "plane": Table(
        ("plane",),
        "method",
        {
            "laid out by": "{form}",
            "method": "{method}",
            "neighbours kept": "{kept:.3f}",
            "trustworthiness": "{trustworthiness:.3f}",
            "class of the nearest": "{class:.3f}",
            "seconds": "{seconds:.1f}",
            "import, s": "{import:.1f}",
        },
    ),
    "score": Table(("score",), "field", {"directions": "{field}", "cosine with the score": "{cosine:.3f}"}),
}

HEADLINES = (
    Headline(
        "retrieval-fashion-mnist",
        "metric",
        (
            "retrieval, Fashion-MNIST, {bits} bits",
            "mAP@1000 {map_at_1000[ours]:.3f}",
            "ITQ {map_at_1000[itq]:.3f}, exact search of floats {map_at_1000[float]:.3f}",
        ),
        "retrieval.md",
    ),
    Headline(
        "words",
        "system",
        (
            "emoji by names that no network saw, {float[bits]} bits, recall@10",
            "{words as floats[share_held]:.2f} of the floats, re-ranked {words as floats, re-ranked[share_held]:.2f}",
            "ITQ-CCA {ITQ-CCA[share_held]:.2f}, re-ranked {ITQ-CCA, re-ranked[share_held]:.2f}",
        ),
        "retrieval.md",
        {"bits": 64},
    ),
    Headline(
        "search-64",
        "arm",
        (
            "exact search, {multihash[rows]:,} codes of {multihash[bits]} bits, k = {multihash[k]}",
            "{multihash[median]:.2f} ms at the median, {multihash[mean]:.2f} mean",
            "{multihash[x_median]:.0f} x, {multihash[x_mean]:.0f} x as fast as FAISS's scan",
        ),
        "search.md",
        only={"rows": 10_000_000, "k": 10, "queries": 1000},
    ),
    Headline(
        "query",
        "process",
        (
            "cold query, {rows:,} codes",
            "{query[median_s]:.2f} s, {query[peak_mb]:.0f} MB",
            "importing torch takes {import torch[x_query]:.1f} x as long",
        ),
        "search.md",
    ),
    Headline(
        "update",
        "change",
        (
            "{changed:,} pictures into {rows:,} codes",
            "{add[seconds]:.1f} s",
            "a query takes {add[meanwhile_ms]:.1f} ms meanwhile, {add[before_ms]:.1f} ms before",
        ),
        "operations.md",
    ),
    Headline(
        "ingest",
        "arm",
        (
            "ingestion of 512 x 384 JPEGs",
            "{ingest[images_per_s]:,.0f} images/s",
            "{ingest[ratio]:.1f} x of an open-convert-resize loop",
        ),
        "training.md",
    ),
    Headline(
        "pretrain",
        "arm",
        (
            "pretraining a layer, bfloat16",
            "{aepipe, bfloat16[rows_per_s]:,.0f} rows/s",
            "{aepipe, bfloat16[x_plain]:.1f} x of a plain float32 loop",
        ),
        "training.md",
    ),
    Headline(
        "speed",
        "model",
        (
            "training an AE, a VAE, float32",
            "{ae[aepipe]:,.0f}, {vae[aepipe]:,.0f} rows/s",
            "{ae[ratio]:.1f} x, {vae[ratio]:.1f} x of pythae",
        ),
        "training.md",
    ),
    Headline(
        "encode",
        "arm",
        (
            "encoding, 784-1024-64",
            "{aepipe, 2 threads[rows_per_s]:,.0f} rows/s",
            "{aepipe, 2 threads[ratio]:.1f} x of torch; bits independent of the batch",
        ),
        "training.md",
    ),
    Headline(
        "holes-letter",
        "filler",
        (
            "holes of a table filled, UCI letter",
            "RMSE {autoencoder[rmse_mean]:.3f}",
            "chained trees {chained extremely randomised trees[rmse_mean]:.3f}, "
            "Bayesian ridge {chained Bayesian ridge regressions[rmse_mean]:.3f}",
        ),
        "zoo.md",
    ),
)
