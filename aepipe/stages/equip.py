"""The frozen network below the stack -> a graph on the shelf, where a recipe names one.

File: ``backbone.onnx``; see :mod:`aepipe.sources.decoders.backbone`. Beside the shelf's directories, ``features/``
keeps what the network made of each picture, by the picture's bytes.
"""

from __future__ import annotations

from aepipe.disk import disk_errors_named
from aepipe.learn import backbone as backbones
from aepipe.plan import Plan
from aepipe.progress import step
from aepipe.sources.decoders.backbone import GRAPH
from aepipe.sources.feature_cache import FeatureCache
from aepipe.sources.images import Images
from aepipe.store import Ref, Store, digest_of, ref_of

VERSION = 1


def equip(store: Store, plan: Plan) -> Ref | None:
    """Give the plan's source the network that it wants, and a cache of features; None where it wants none.

    Raises:
        CorruptError: the network cannot be used.
        FullError: the disk is full.
    """
    source = plan.source
    if not isinstance(source, Images) or source.backbone is None:
        return None
    own = source.backbone.file
    inputs = {"stage": "equip", "version": VERSION, "size": list(source.size)}
    inputs |= {"sha256": source.backbone.sha256 if own else backbones.WEIGHTS_SHA256, "own": own is not None}
    ref = ref_of("backbone", inputs)
    if not store.has(ref):
        step("backbone", 0, 1)
        with store.draft("backbone") as draft:
            graph = own.read_bytes() if own else backbones.efficientnet_lite0(source.size)
            (draft.path / GRAPH).write_bytes(graph)
            draft.finish(inputs)
        step("backbone", 1, 1)
    source.equip(store.verified(ref) / GRAPH, str(ref))
    with disk_errors_named(store.root):
        store.create()
        folder = store.root / "features" / digest_of(source.features())[:32]
        source.remember(FeatureCache(folder, width=source.shape[0], dtype=source.dtype))
    return ref
