"""Makes the pictures of the guides and of the README anew, from the real pages over a scene that is always the same.

    uv run --with pillow python docs/guide/make_screenshots.py

Needs chromium at /usr/bin/chromium. With Pillow the files are a third as large.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "tests" / "integration"), str(ROOT / "tests")]

from web_scene import PASSWORD, Served, busy, empty, serving, twenty  # noqa: E402

from llm_core import Dashboard, MeterPhase, MeterState, Phase, State  # noqa: E402

GUIDE, README = ROOT / "docs" / "guide" / "images", ROOT / "docs" / "images"
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
COLOURS = 192
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--font-render-hinting=none"]


def calm() -> State:
    """The busy site without alarms, its meter answering."""
    state = busy(alarms=False)
    phases = {phase: MeterPhase(ma, 86_400_000) for phase, ma in zip(Phase, (50_100, 41_300, 33_900), strict=True)}
    meter = MeterState(phases=phases, voltage_mv=(231_000, 230_000, 232_000), power_w=28_900)
    return attrs.evolve(state, meters={"site": meter}, limits={})


def shrunk(path: Path) -> None:
    """Fewer colours where Pillow is at hand: flat pages lose nothing that anybody sees."""
    try:
        from PIL import Image
    except ImportError:
        return
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


@contextmanager
def window(browser: Browser, served: Served, size: dict[str, int], scheme: str = "light") -> Iterator[Page]:
    context = browser.new_context(viewport=size, color_scheme=scheme, locale="en-GB")  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{served.url}/login", wait_until="domcontentloaded")
    page.fill("#name", "administrator")
    page.fill("#password", PASSWORD)
    page.click("form.card button")
    page.wait_for_url(lambda url: "/login" not in url, wait_until="domcontentloaded")
    yield page
    context.close()


def take(page: Page, served: Served, path: str, target: Path, *, whole: bool = False) -> None:
    page.goto(f"{served.url}{path}", wait_until="domcontentloaded")
    page.wait_for_timeout(400)  # bars ease to their values
    page.screenshot(path=target, full_page=whole)
    shrunk(target)
    print(target.relative_to(ROOT), f"{target.stat().st_size // 1000} kB")


def main() -> None:
    GUIDE.mkdir(exist_ok=True)
    platform.platform = lambda *_, **__: "Linux-6.1-x86_64"  # the same pictures on every machine
    with sync_playwright() as playwright, serving(calm()) as served:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        with window(browser, served, DESK) as page:
            take(page, served, "/", README / "dashboard-1280.png")
            for name in ("clusters", "strategy", "badges", "sessions", "history", "support", "stations", "settings"):
                take(page, served, f"/{name}", GUIDE / f"{name}.png")
            take(page, served, "/decisions", GUIDE / "decisions.png")
            take(page, served, "/stations/ST1", GUIDE / "station.png", whole=True)
            served.book.state = busy(alarms=False)
            take(page, served, "/limits", GUIDE / "limits.png")
            served.book.state = twenty()
            take(page, served, "/", GUIDE / "twenty.png")
            served.book.state = busy()
            take(page, served, "/", GUIDE / "attention.png")
            served.book.state = calm()
        with window(browser, served, DESK, "dark") as page:
            take(page, served, "/", README / "dashboard-1280-dark.png")
        with window(browser, served, PHONE) as page:
            take(page, served, "/", README / "dashboard-390.png")
            take(page, served, "/stations", GUIDE / "stations-390.png")
            for step in ("supply", "meter", "stations"):
                take(page, served, f"/setup/{step}", GUIDE / f"setup-{step}.png", whole=step != "stations")
            take(page, served, "/stations/EV-NEW-01?next=/setup/stations", GUIDE / "adopt.png", whole=True)
            served.begin_again(calm())
        with window(browser, served, PHONE) as page:
            take(page, served, "/bay/ST1", GUIDE / "bay.png")
            take(page, served, "/bay/ST2", GUIDE / "bay-waiting.png")
            served.book.state = attrs.evolve(empty(), factory=False)
            take(page, served, "/tutorial", GUIDE / "tutorial.png", whole=True)
        served.begin_again(attrs.evolve(calm(), site=busy(dashboard=Dashboard.PUBLIC).site))
        context = browser.new_context(viewport=PHONE, locale="en-GB")  # type: ignore[arg-type]
        take(context.new_page(), served, "/", GUIDE / "public.png")
        browser.close()


if __name__ == "__main__":
    main()
