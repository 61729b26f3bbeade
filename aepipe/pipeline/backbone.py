"""The frozen network below the stack -> its files on the shelf, where a recipe names one.

Files: ``backbone.onnx`` and, of one that reads text, ``tokenizer.json``; see :mod:`aepipe.sources`. Beside the
shelf's directories, ``features/`` keeps what the network made of each item, by the item's bytes.
"""

from __future__ import annotations

from aepipe.learn import onnx_export
from aepipe.log import step
from aepipe.pipeline.resolve import ResolvedRecipe
from aepipe.sources.backbone import GRAPH, TOKENIZER, BackboneSource, BackboneSpec, FeatureCache
from aepipe.store.artifacts import Ref, Store, digest_of, ref_of
from aepipe.store.io import disk_errors_named

VERSION = 1


def attach_backbone(store: Store, plan: ResolvedRecipe) -> Ref | None:
    """Give the plan's source the network that it wants, and a cache of features; None where it wants none.

    Raises:
        CorruptError: the network cannot be used.
        FullError: the disk is full.
    """
    source = plan.source
    if not isinstance(source, BackboneSource) or source.backbone is None:
        return None
    wanted = source.backbone
    inputs = {"stage": "equip", "version": VERSION, "name": wanted.name, "sha256": wanted.sha256}
    inputs |= {"size": list(wanted.size) if wanted.size else None}
    ref = ref_of("backbone", inputs)
    if not store.has(ref):
        step("backbone", 0, 1)
        with store.draft("backbone") as draft:
            for name, data in _files(wanted).items():
                (draft.path / name).write_bytes(data)
            draft.finish(inputs)
        step("backbone", 1, 1)
    source.attach(store.verified(ref), str(ref))
    with disk_errors_named(store.root):
        store.create()
        folder = store.root / "features" / digest_of(source.features())[:32]
        source.use_cache(FeatureCache(folder, width=source.shape[0], dtype=source.dtype))
    return ref


def _files(wanted: BackboneSpec) -> dict[str, bytes]:
    """Return the files of a network: the user's own, or those that are made of a package."""
    if wanted.files:
        return {name: file.read_bytes() for name, file in wanted.files.items()}
    if wanted.size is not None:
        return {GRAPH: onnx_export.efficientnet_lite0(wanted.size)}
    graph, tokenizer = onnx_export.minilm()
    return {GRAPH: graph, TOKENIZER: tokenizer}
