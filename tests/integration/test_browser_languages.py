"""Every page in every language, on desk and phone: nothing wider than the screen, cut, or over something else."""

from __future__ import annotations

import pytest
from browsing import DESK, NEEDS_CHROMIUM, PHONE, Open
from playwright.sync_api import Page
from web_routes import every_page
from web_scene import Served

from llm_adapters.web.languages import LANGUAGES
from llm_adapters.web.pages import LANGUAGE_COOKIE

pytestmark = NEEDS_CHROMIUM

LOOK = """() => {
  const texts = [], wrong = []
  const aside = e => e !== null && (getComputedStyle(e).clipPath !== 'none' || aside(e.parentElement))
  const shown = e => e.checkVisibility({ visibilityProperty: true }) && !e.closest('.skip, svg, select') && !aside(e)
  if (document.documentElement.scrollWidth > innerWidth) wrong.push('wider than the screen')
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walk.nextNode()) {
    const node = walk.currentNode, holder = node.parentElement
    if (!node.data.trim() || !shown(holder)) continue
    const range = document.createRange()
    range.selectNodeContents(node)
    const words = node.data.trim(), windows = []
    for (let e = holder; e !== document.body; e = e.parentElement) {
      if (getComputedStyle(e).overflowX === 'hidden' && e.scrollWidth > e.clientWidth + 1) wrong.push(`cut: ${words}`)
      if (getComputedStyle(e).overflowY === 'auto') windows.push(e.getBoundingClientRect())
    }
    for (const box of range.getClientRects())
      if (windows.every(window => box.top < window.bottom && box.bottom > window.top)) texts.push({ box, words })
  }
  for (const control of document.querySelectorAll('select, .button, button'))
    if (shown(control.parentElement) && control.scrollWidth > control.clientWidth + 1)
      wrong.push(`cut: ${control.innerText}`)
  const deep = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > Math.min(a.height, b.height) / 3
  texts.forEach((one, i) => texts.slice(i + 1).forEach(other => {
    if (one.words !== other.words && deep(one.box, other.box)) wrong.push(`${one.words} | ${other.words}`)
  }))
  return wrong
}"""


def rows_of_the_second_menu(page: Page) -> int:
    return int(page.evaluate("new Set([...document.querySelectorAll('.menu.second a')].map(a => a.offsetTop)).size"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_cut_and_nothing_overlaps(served: Served, open_page: Open, language: str) -> None:
    page = open_page(served).page
    page.context.add_cookies([{"name": LANGUAGE_COOKIE, "value": language, "url": served.url}])
    found = {}
    for path in every_page(served):
        page.goto(f"{served.url}{path}", wait_until="domcontentloaded")
        assert page.locator("html").get_attribute("lang") == language
        for size, viewport in {"desk": DESK, "phone": PHONE}.items():
            page.set_viewport_size(viewport)  # type: ignore[arg-type]
            found[path, size] = page.evaluate(LOOK)
            if size == "desk" and rows_of_the_second_menu(page) > 1:
                found[path, size].append("the second menu needs a second line")
    assert {at: wrong for at, wrong in found.items() if wrong} == {}
