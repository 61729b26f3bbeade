"""The frozen network below the stack -> its files on the shelf, where a recipe names one.

Files: ``backbone.onnx`` and, of one that reads text, ``tokenizer.json``; see :mod:`aepipe.sources.decoders`. Beside the
shelf's directories, ``features/`` keeps what the network made of each item, by the item's bytes.
"""

from __future__ import annotations

from aepipe.disk import disk_errors_named
from aepipe.learn import backbone, sentences
from aepipe.plan import Plan
from aepipe.progress import step
from aepipe.sources.decoders.backbone import GRAPH
from aepipe.sources.decoders.sentences import TOKENIZER
from aepipe.sources.feature_cache import FeatureCache
from aepipe.sources.images import Images
from aepipe.sources.seeing import Seeing, Wanted
from aepipe.store import Ref, Store, digest_of, ref_of

VERSION = 1


def equip(store: Store, plan: Plan) -> Ref | None:
    """Give the plan's source the network that it wants, and a cache of features; None where it wants none.

    Raises:
        CorruptError: the network cannot be used.
        FullError: the disk is full.
    """
    source = plan.source
    if not isinstance(source, Seeing) or source.backbone is None:
        return None
    wanted, size = source.backbone, source.size if isinstance(source, Images) else None
    inputs = {"stage": "equip", "version": VERSION, "name": wanted.name, "sha256": wanted.sha256}
    inputs |= {"size": list(size) if size else None}
    ref = ref_of("backbone", inputs)
    if not store.has(ref):
        step("backbone", 0, 1)
        with store.draft("backbone") as draft:
            for name, data in _files(wanted, size).items():
                (draft.path / name).write_bytes(data)
            draft.finish(inputs)
        step("backbone", 1, 1)
    source.equip(store.verified(ref), str(ref))
    with disk_errors_named(store.root):
        store.create()
        folder = store.root / "features" / digest_of(source.features())[:32]
        source.remember(FeatureCache(folder, width=source.shape[0], dtype=source.dtype))
    return ref


def _files(wanted: Wanted, size: tuple[int, int] | None) -> dict[str, bytes]:
    """Return the files of a network: the user's own, or those that are made of a package."""
    if wanted.files:
        return {name: file.read_bytes() for name, file in wanted.files.items()}
    if size is not None:
        return {GRAPH: backbone.efficientnet_lite0(size)}
    graph, tokenizer = sentences.minilm()
    return {GRAPH: graph, TOKENIZER: tokenizer}
