"""Items of several threads go through a network together, and get what they get alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from aepipe import recipe as recipes
from aepipe.codes import encoder
from aepipe.errors import SourceError
from aepipe.sources.images.source import Features, Images, Options
from aepipe.sources.networks import graph
from aepipe.sources.networks.pictures import Backbone
from aepipe.sources.networks.together import Inputs, Together
from tests.support.networks import attached, vision

NORMAL = {"mean": [127.0], "scale": [128.0]}


def asked(
    together: Callable[[Inputs], NDArray[np.float64]], items: list[NDArray[np.float64]], threads: int
) -> list[object]:
    def one(item: NDArray[np.float64]) -> object:
        try:
            return together({"x": item[None]})
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, items))


def test_each_item_gets_its_own_output_and_many_go_together() -> None:
    counts = list[int]()

    def run(given: Inputs) -> NDArray[np.float64]:
        until = time.monotonic() + 60
        while not counts and len(given["x"]) + len(together._waiting) < len(items) and time.monotonic() < until:
            time.sleep(0.001)  # until the others have come
        counts.append(len(given["x"]))
        total: NDArray[np.float64] = given["x"].sum(axis=1, keepdims=True)
        return total

    together, rng = Together(run, most=5), np.random.default_rng(0)
    items = [rng.normal(size=3 + number % 2) for number in range(24)]
    found = asked(together, items, 24)
    np.testing.assert_allclose(np.concatenate(found)[:, 0], [item.sum() for item in items])  # type: ignore[arg-type]
    assert max(counts) == 5
    assert sum(counts) == len(items) + 1  # one is compared


def test_a_thread_that_is_interrupted_leaves_its_turn_to_others() -> None:
    first, held = threading.Event(), threading.Event()

    def run(given: Inputs) -> NDArray[np.float64]:
        if not first.is_set():
            first.set()
            held.wait(60)  # until another item waits
            raise KeyboardInterrupt
        return 2 * given["x"]

    together, item, found = Together(run), {"x": np.ones((1, 2))}, list[NDArray[np.float64]]()

    def ask() -> None:
        with suppress(KeyboardInterrupt):
            found.append(together(item))

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(2)]
    threads[0].start()
    first.wait(60)
    threads[1].start()
    while not together._waiting:
        time.sleep(0.001)
    held.set()
    for one in threads:
        one.join(60)
    assert [one.tolist() for one in found] == [[[2.0, 2.0]]]


def test_an_item_that_fails_fails_alone() -> None:
    def run(given: Inputs) -> NDArray[np.float64]:
        if (given["x"] < 0).any():
            raise ValueError("below zero")
        return given["x"]

    found = asked(Together(run), [np.array([float(n if n % 5 else -1)]) for n in range(20)], 8)
    assert [one == "below zero" for one in found] == [n % 5 == 0 for n in range(20)]


def test_features_are_those_of_one_item_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It has maps; the tokens of these small networks are those of a batch of one.
    file = vision(tmp_path / "net.onnx", "last_hidden_state", tokens=False)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (8 + 4 * (n % 2), 8, 3)).astype(np.uint8) for n in range(12)]
    alone = Backbone(file, **NORMAL)  # type: ignore[arg-type]
    many = Backbone(file, **NORMAL, provider="cuda")  # type: ignore[arg-type]
    assert isinstance(many._graph._run, Together)
    with ThreadPoolExecutor(6) as pool:
        for found, picture in zip(pool.map(many, pictures), pictures, strict=True):
            np.testing.assert_allclose(found.astype(np.float64), alone(picture).astype(np.float64), atol=1e-3)
    mixing = Backbone(vision(tmp_path / "mixing.onnx", "image_embeds"), **NORMAL, provider="cuda")  # type: ignore[arg-type]
    with ThreadPoolExecutor(6) as pool:
        mixed = list(pool.map(mixing, pictures))
    np.testing.assert_array_equal(mixed, [mixing(picture) for picture in pictures])
    fixed = vision(tmp_path / "fixed.onnx", "image_embeds", batch=1)
    assert not isinstance(Backbone(fixed, **NORMAL, provider="cuda")._graph._run, Together)  # type: ignore[arg-type]


def test_a_card_is_a_part_of_what_features_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = vision(tmp_path / "net.onnx", "image_embeds")
    (tmp_path / "a.png").write_bytes(b"x")

    def source(**more: object) -> Images:
        chosen = recipes.options(Features, {"backbone": str(file), "size": [8, 8], **more}, "features")
        return Images(Options(path="a.png"), chosen, base=tmp_path, name="a")

    monkeypatch.setattr(graph, "has_cuda", lambda: False)
    with pytest.raises(SourceError, match="knows no graphics card; onnxruntime-gpu in its place"):
        source(provider="cuda")
    monkeypatch.setattr(graph, "has_cuda", lambda: True)
    monkeypatch.setattr(encoder, "has_cuda", lambda: False)
    plain, card = (attached(source(**more), tmp_path / f"s{len(more)}") for more in ({}, {"provider": "cuda"}))
    assert "provider" not in plain.features()["backbone"]
    assert card.features()["backbone"] == plain.features()["backbone"] | {"provider": "cuda"}
