"""The page in a real browser: what it asks for, what it shows, keys alone, and no obstacles for anybody."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aepipe.store.artifacts import Store
from tests.serve.conftest import Client, running
from tests.support.releases import make_release, pictures_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
SCREENS = [
    "/c/pictures", "/c/pictures?id=3", "/c/pictures?id=3&item=9", "/c/docs?text=harbour", "/c/people?id=3",
    "/c/vectors?id=3", "/c/pictures/duplicates?radius=0", "/c/pictures/releases", "/c/pictures/unreadable",
    "/c/pictures/feedback", "/c/pictures/map", "/c/pictures/map?id=3&item=9", "/c/docs/map",
    "/c/pictures/map?area=0-0_65535-0_65535-65535_0-65535",
    "/c/pictures/docs",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, without a window."""
    if not CHROMIUM:
        missing = "needs Chromium: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        found = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield found
        found.close()


@pytest.fixture
def page(browser: Any, client: Client) -> Iterator[Any]:
    """A page of the service at the size of a desk; a mistake in its script fails the test."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{client.port}", locale="en-GB")
    found = context.new_page()
    found.set_default_timeout(10_000)
    mistakes: list[str] = []
    found.on("pageerror", lambda error: mistakes.append(str(error)))
    yield found
    context.close()
    assert not mistakes


def test_the_page_asks_for_little_and_only_here(page: Any, client: Client) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/c/pictures")
    page.wait_for_selector(".tile")
    first = next(place for place, url in enumerate(asked) if "/items?" in url)
    assert first <= 5, asked[:first]
    assert all(url.startswith((f"http://127.0.0.1:{client.port}/", "data:")) for url in asked)
    paths = [url.partition(str(client.port))[2] for url in asked[:3]]
    page.goto("/c/pictures?id=3")
    page.wait_for_selector(".tile")
    again = asked[len(asked) - asked[::-1].index(page.url) - 1 :]
    assert next(place for place, url in enumerate(again) if "/search?" in url) <= 5, again
    parts = [client.ask("GET", path, headers={"Accept-Encoding": "gzip"}) for path in paths]
    assert sum(len(part.body) for part in parts) <= 60_000
    assert all(part.headers["content-encoding"] == "gzip" for part in parts)


def test_an_item_leads_to_what_is_like_it(page: Any, client: Client) -> None:
    page.goto("/c/pictures?id=3")
    page.wait_for_selector(".tile")
    assert page.locator(".summary").inner_text().startswith("The 30 nearest of 60")
    page.locator(".tile").nth(2).click()
    page.wait_for_selector("dialog.item .why .differs, dialog.item .why .strip")
    item = int(page.url.rpartition("item=")[2])
    page.get_by_role("button", name="Find what is like this").click()
    page.wait_for_url(f"**/c/pictures?id={item}")
    page.go_back()
    page.wait_for_selector("dialog.item")
    found = client.get("/v1/collections/pictures/search", id=item, k=30).json["answers"][0]["hits"]
    page.goto(f"/c/pictures?id={item}")
    page.wait_for_selector(".tile")
    shown = [int(tile.get_attribute("data-id")) for tile in page.locator(".tile").all()[:5]]
    assert shown == [hit["id"] for hit in found[:5]]


def test_words_find_pictures_and_more_words_go_with_them(browser: Any, colours: Store) -> None:
    with running(colours) as own:
        context = browser.new_context(base_url=f"http://127.0.0.1:{own.port}", locale="en-GB")
        found = context.new_page()
        found.goto("/c/colours")
        found.fill("#field", "red")
        found.press("#field", "Enter")
        found.wait_for_selector(".tile")
        found.get_by_label("and …", exact=True).fill("white")
        with found.expect_response(lambda answer: "minus=blue" in answer.url):
            found.get_by_label("but not …").fill("blue")
            found.get_by_label("but not …").press("Enter")
        found.wait_for_selector(".hits:not(.loading) .tile")
        assert found.url.endswith("/c/colours?text=red&plus=white&minus=blue")
        shown = [int(tile.get_attribute("data-id")) for tile in found.locator(".tile").all()[:5]]
        parameters: dict[str, Any] = {"text": "red", "plus": "white", "minus": "blue", "k": 30}
        hits = own.get("/v1/collections/colours/search", **parameters).json["answers"][0]["hits"]
        assert shown == [hit["id"] for hit in hits[:5]]
        context.close()


def test_a_dropped_picture_is_asked_with_and_shared_by_its_code(page: Any, client: Client, store: Store) -> None:
    picture = sorted(pictures_of(store).rglob("*.png"))[7]
    page.goto("/c/pictures")
    page.wait_for_selector(".tile")
    held = page.evaluate_handle(
        """bytes => { const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], 'mine.png', { type: 'image/png' })); return data; }""",
        list(picture.read_bytes()),
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": held})
    assert page.locator(".drop").inner_text() == "Search by this file"
    page.dispatch_event("body", "drop", {"dataTransfer": held})
    page.wait_for_url("**code=*")
    page.wait_for_selector(".chip img")
    assert "mine.png" in page.locator(".chip").inner_text()
    address = page.url
    first = page.locator(".tile").first.get_attribute("data-id")
    wanted = client.post("/v1/collections/pictures/search", picture.read_bytes()).json["answers"][0]
    assert address.endswith(f"code={wanted['code']}")
    assert int(first) == wanted["hits"][0]["id"]
    page.get_by_role("button", name="Crop").click()
    page.locator(".crop .box").press("ArrowRight")
    page.get_by_role("button", name="Search by this part").click()
    page.wait_for_function("address => location.href !== address", arg=address)


def test_filters_are_in_the_address(page: Any) -> None:
    page.goto("/c/pictures?id=3")
    box = page.locator(".filters .choice", has_text="class1").locator("input")
    box.check()
    page.wait_for_url("**label=class1*")
    page.wait_for_function("() => document.querySelector('.summary').innerText.includes('that fit')")
    names = page.locator(".tile .name").all_inner_texts()
    assert set(names) == {"class1"}
    page.go_back()
    page.wait_for_function("() => !document.querySelector('.summary').innerText.includes('that fit')")


def test_words_are_typed_where_the_collection_answers_words(page: Any) -> None:
    page.goto("/c/docs")
    page.wait_for_selector(".tile")
    page.keyboard.press("/")
    page.keyboard.type("harbour pilot")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"text=harbour\+pilot$"))
    page.wait_for_selector(".tile")
    assert "harbour" in page.locator(".tile").first.inner_text()


def test_a_screen_says_that_it_waits_and_what_went_wrong(page: Any) -> None:
    page.route("**/v1/**/quarantine", lambda route: None)  # is never answered
    page.goto("/c/pictures/unreadable")
    page.wait_for_selector("text=Loading …")
    page.route("**/v1/**/releases", lambda route: route.fulfill(status=500, json={"detail": "no luck"}))
    page.goto("/c/pictures/releases")
    assert "no luck" in page.get_by_role("alert").inner_text()


def test_everything_is_done_by_keys(page: Any) -> None:
    page.goto("/c/pictures?id=3")
    page.wait_for_selector(".tile")
    page.locator(".tile").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog.item[open]")
    first = page.url
    page.keyboard.press("ArrowRight")
    page.wait_for_function("url => location.href !== url", arg=first)
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.item", state="detached")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()


def test_the_map_leads_to_items_and_back(page: Any, client: Client) -> None:
    page.goto("/c/pictures/map?id=3")
    lit = "60 of 60 items in view · 30 hits are lit"
    page.wait_for_function("text => document.querySelector('.summary')?.innerText.startsWith(text)", arg=lit)
    canvas = page.locator("canvas")
    box = canvas.bounding_box()
    wanted = client.get("/v1/collections/pictures/map/at", id=7).json["rows"][0]
    scale = min(box["width"], box["height"]) / 65535
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    place = [at + (one - 32767.5) * scale for at, one in zip(middle, (wanted["x"], wanted["y"]), strict=True)]
    page.mouse.move(*place)
    page.wait_for_selector(".hover img")
    page.mouse.click(*place)
    page.wait_for_selector("dialog.item[open]")
    found = int(page.url.rpartition("item=")[2])
    near = client.get("/v1/collections/pictures/map/at", x=wanted["x"], y=wanted["y"], r=800, limit=9).json["rows"]
    assert found in [one["item"]["id"] for one in near]
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.item", state="detached")


def test_the_map_moves_and_what_is_drawn_around_is_listed(page: Any) -> None:
    page.goto("/c/pictures/map")
    page.wait_for_selector("canvas[data-state=pictures]")
    box = page.locator("canvas").bounding_box()
    corners = [(0.02, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98), (0.02, 0.5)]
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.keyboard.down("Shift")
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")
    page.wait_for_selector(".marked .tile")
    assert page.locator(".marked h2").inner_text().startswith("60 items")
    page.locator(".legend button").first.click()
    page.wait_for_url("**hide=0*")
    page.wait_for_function("() => document.querySelector('.summary')?.innerText.startsWith('48 of 60')")
    page.mouse.move(*places[0])
    page.mouse.wheel(0, -2000)
    page.wait_for_url("**at=*")
    page.reload()
    page.wait_for_function("() => document.querySelector('.summary')?.innerText.includes(' of 60 items in view')")
    assert not page.locator(".summary").inner_text().startswith("48 ")


def test_two_fingers_zoom_the_map(browser: Any, client: Client) -> None:
    size = {"width": 360, "height": 740}
    context = browser.new_context(base_url=f"http://127.0.0.1:{client.port}", viewport=size, has_touch=True)
    page = context.new_page()
    page.goto("/c/pictures/map")
    page.wait_for_function("() => document.querySelector('.summary')?.innerText.startsWith('60 of 60')")
    box = page.locator("canvas").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    fingers = context.new_cdp_session(page)
    for kind, apart in (("touchStart", 20), ("touchMove", 60), ("touchMove", 140), ("touchEnd", 0)):
        points = [{"x": middle[0] + side * apart, "y": middle[1], "id": side} for side in (-1, 1)] if apart else []
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.wait_for_url("**at=*")
    page.wait_for_function("() => !document.querySelector('.summary').innerText.startsWith('60 of 60')")
    context.close()


def test_duplicates_are_chosen_by_how_they_are_alike(page: Any) -> None:
    page.goto("/c/pictures/duplicates")
    ways = page.locator(".controls select").first
    page.wait_for_selector(".controls select")
    assert ways.input_value() == "copies"
    assert page.locator("input[type=range]").count() == 0
    ways.select_option("content")
    page.wait_for_url("**alike=content")
    page.wait_for_selector("input[type=range]")
    page.goto("/c/people/duplicates")
    page.wait_for_selector(".controls select option", state="attached")
    assert page.locator(".controls select").first.locator("option").count() == 2


def test_a_mark_of_a_dropped_picture_keeps_it(browser: Any, tmp_path: Path) -> None:
    held = Store(tmp_path / "store")
    make_release(held, n=30)
    picture = sorted(pictures_of(held).rglob("*.png"))[7]
    with running(held, write=True) as client:
        page = browser.new_page(base_url=f"http://127.0.0.1:{client.port}", locale="en-GB")
        page.goto("/c/pictures")
        page.wait_for_selector(".tile")
        page.locator("input[type=file]").first.set_input_files(str(picture))
        page.wait_for_url("**code=*")
        page.locator(".tile").nth(1).click()
        page.wait_for_selector(".verdicts")
        assert "keeps the file" in page.locator(".verdicts").inner_text()
        page.get_by_role("button", name="good", exact=True).click()
        page.wait_for_selector(".verdicts [aria-pressed=true]")
        (kept,) = (held.root / "feedback" / "pictures").iterdir()
        assert kept.read_bytes() == picture.read_bytes()
        page.goto("/c/pictures/feedback")
        page.wait_for_selector(".marks li")
        assert kept.name in page.locator(".marks").inner_text()
        page.close()


def test_the_map_is_read_by_keys_and_as_a_table(page: Any) -> None:
    page.goto("/c/pictures/map")
    page.wait_for_function("() => document.querySelector('.summary')?.innerText.startsWith('60 of 60')")
    page.locator("canvas").focus()
    for key in ("+", "+", "ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
    page.wait_for_url("**at=*")
    page.keyboard.press("0")
    page.wait_for_function("() => !location.search.includes('at=')")
    page.keyboard.press("Enter")
    page.wait_for_selector(".marked .tile")
    page.locator("details summary").click()
    page.wait_for_selector("table a")
    assert page.locator("tbody tr").count() == 30
    page.locator("tbody a").first.click()
    page.wait_for_selector("dialog.item[open]")


@pytest.mark.parametrize("language", ["de-DE", "zh-CN"])
def test_other_languages_are_spoken(browser: Any, client: Client, language: str) -> None:
    context = browser.new_context(base_url=f"http://127.0.0.1:{client.port}", locale=language)
    page = context.new_page()
    page.goto("/c/pictures?id=3")
    page.wait_for_selector(".tile")
    assert page.locator("html").get_attribute("lang") == language[:2]
    assert "nearest" not in page.locator(".summary").inner_text()
    context.close()


SIZES = [("light", 360), ("dark", 1280)]
"""In the suite, each scheme at one width; ``make soak`` looks at all."""
ALL_SIZES = [(scheme, width) for scheme in ("light", "dark") for width in (360, 1280)]


@pytest.mark.parametrize(("scheme", "width"), ALL_SIZES if "AEPIPE_SOAK" in os.environ else SIZES)
def test_no_screen_has_an_obstacle(browser: Any, client: Client, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    size = {"width": width, "height": 800}
    context = browser.new_context(
        base_url=f"http://127.0.0.1:{client.port}", color_scheme=scheme, viewport=size, bypass_csp=True
    )
    page = context.new_page()
    found = []
    for screen in SCREENS:
        page.goto(screen)
        page.wait_for_load_state("networkidle")
        for violation in axe.run(page).response["violations"]:
            found.append((screen, violation["id"], [node["html"][:120] for node in violation["nodes"][:2]]))
        assert page.evaluate("document.documentElement.scrollWidth") <= width, screen
    context.close()
    assert not found


def test_the_page_works_below_a_prefix(client: Client) -> None:
    from aepipe.serve.handlers.page import _document

    text = _document("/search").decode()
    assert 'src="/search/static/app.' in text
    assert 'name="root" content="/search"' in text


def test_words_of_documents_are_looked_up_where_that_is_chosen(page: Any) -> None:
    pytest.importorskip("tantivy", reason="needs the extra hybrid")
    page.goto("/c/docs?text=harbour+pilot&radius=20")
    page.get_by_role("slider", name="Distance").wait_for()
    page.get_by_label("Look up the words, too").check()
    page.wait_for_url("**/c/docs?*hybrid=true*")
    assert "radius" not in page.url
    page.locator(".tile").first.wait_for()
    assert page.get_by_role("slider", name="Distance").count() == 0
    page.goto("/c/pictures?id=3")
    page.locator(".tile").first.wait_for()
    assert page.get_by_label("Look up the words, too").count() == 0
