"""The page in Debian's Chromium, without a window and without a graphics card: rows 18 to 23."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import aepipe
from aepipe.release import placing
from aepipe.store.artifacts import Store
from benchmarks.common import ROOT
from benchmarks.serve.goals import Figure
from benchmarks.serve.running import Running, service
from benchmarks.serve.speed import picture
from tests.support.releases import publish_source

CHROMIUM = "/usr/bin/chromium"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
PICTURES, TRIES = 160, 5
SHOWN = """() => { const all = [...document.querySelectorAll('.tile img')].slice(0, 10);
return all.length === 10 && all.every(one => one.complete && one.naturalWidth); }"""
IDS = "() => [...document.querySelectorAll('.tile')].map(one => one.dataset.id).join()"
DROP = """bytes => { const data = new DataTransfer();
data.items.add(new File([new Uint8Array(bytes)], 'mine.jpg', { type: 'image/jpeg' })); return data; }"""
FETCH = """async ids => { const began = performance.now(); performance.clearResourceTimings();
const release = document.querySelector('.tile img').src.match(/release=([0-9a-f]+)/)[1];
await Promise.all(ids.map(id => new Promise((done, fail) => {
const one = new Image(); one.onload = done; one.onerror = fail;
one.src = `/v1/collections/photos/items/${id}/thumb?s=448&release=${release}`; })));
const sent = performance.getEntriesByType('resource').filter(one => one.transferSize > 0).length;
return [performance.now() - began, sent]; }"""
FRAMES = """() => { window.frames_ = []; let last = performance.now();
const tell = now => { window.frames_.push(now - last); last = now; requestAnimationFrame(tell); };
requestAnimationFrame(tell); }"""


@contextmanager
def browser() -> Iterator[Any]:
    """Run the browser until the block ends."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield found
        found.close()


def opened(folder: Path) -> Iterator[Figure]:
    """Yield what opening the page, asking and dropping a picture take: rows 18 to 22."""
    files = [file.read_bytes() for file in (ROOT / "aepipe" / "serve" / "page").iterdir()]
    yield Figure(18, "page: all of it, gzipped", sum(len(gzip.compress(file, 6)) for file in files) / 1000, "kB")
    yield Figure(18, "page: all of it, as it is", sum(map(len, files)) / 1000, "kB")
    (folder / "photos").mkdir(parents=True)
    for number in range(PICTURES):
        (folder / "photos" / f"{number:03d}.jpg").write_bytes(picture(number))
    store = Store(folder / "store")
    publish_source(store, "photos", {"kind": "images", "path": "photos"})
    with browser() as chromium:
        times = [_tried(chromium, store, number) for number in range(TRIES)]
    for name in times[0]:
        row, what, unit = name
        yield Figure(row, f"page: {what}", float(np.median([one[name] for one in times])), unit)


def _tried(chromium: Any, store: Store, number: int) -> dict[tuple[int, str, str], float]:
    """Open the page in a new browser profile, of a service that has made no small picture yet."""
    found: dict[tuple[int, str, str], float] = {}
    with service(store.root) as running:
        page, asked = _page(chromium, running), []
        page.on("request", lambda request: asked.append(request.url))
        began = time.perf_counter()
        page.goto(f"/c/photos?id={number}")
        page.wait_for_function(SHOWN)
        found[20, "cold, until the first hits with their pictures", "s"] = time.perf_counter() - began
        here = f"http://127.0.0.1:{running.port}/"
        first = next(place for place, url in enumerate(asked) if "/search?" in url)
        found[19, "requests before the first search", ""] = first
        found[19, "requests to other origins", ""] = sum(not url.startswith((here, "data:")) for url in asked)
        page.keyboard.press("/")
        page.keyboard.type(str(40 + number))
        began = time.perf_counter()
        page.keyboard.press("Enter")
        page.wait_for_selector(f'.tile[data-id="{40 + number}"]:first-child')
        found[20, "warm, from a query to its hits", "s"] = time.perf_counter() - began
        dropped = page.evaluate_handle(DROP, list(picture(1000 + number)))
        old = page.evaluate(IDS)
        began = time.perf_counter()
        page.dispatch_event("body", "drop", {"dataTransfer": dropped})
        page.wait_for_function(f"old => location.search.startsWith('?code=') && ({IDS})() !== old", arg=old)
        found[21, "from a dropped JPEG to the first tile", "s"] = time.perf_counter() - began
        page.wait_for_function(SHOWN)
        found[21, "from a dropped JPEG to ten pictures", "s"] = time.perf_counter() - began
        milliseconds, _ = page.evaluate(FETCH, list(range(90, 150)))
        found[22, "60 small pictures, none made before", "s"] = milliseconds / 1000
        found[22, "requests for them the second time", ""] = page.evaluate(FETCH, list(range(90, 150)))[1]
        page.context.close()
    return found


def mapped(store: Path) -> Iterator[Figure]:
    """Yield what the map of many rows takes: row 23; its places are drawn, because their number alone matters."""
    release = aepipe.open(store).release
    places = np.random.default_rng(0).normal(size=(len(release.items.ids), 2))
    with patch.object(placing, "_places", lambda *_: places):
        placing.make(Store(store), release)
    with browser() as chromium, service(store) as running:
        page = _page(chromium, running)
        began = time.perf_counter()
        page.goto(f"/c/{release.name}/map")
        page.wait_for_selector('canvas[data-drawn]:not([data-drawn="0"])')
        yield Figure(23, "page: map of a million rows, first picture", time.perf_counter() - began, "s")
        page.wait_for_function("() => / of [\\d,.]+ items/.test(document.querySelector('.summary')?.innerText ?? '')")
        box = page.locator("canvas").bounding_box()
        middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.move(*middle)
        page.mouse.down()
        page.evaluate(FRAMES)
        for step in range(60):
            page.mouse.move(middle[0] + 2 * step, middle[1] + step)
        page.mouse.up()
        yield Figure(23, "page: map of a million rows, a frame", float(np.median(page.evaluate("frames_"))), "ms")


def _page(chromium: Any, running: Running) -> Any:
    context = chromium.new_context(base_url=f"http://127.0.0.1:{running.port}", locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(60_000)
    return page
