"""The page in a real browser: by mouse, by keyboard, and on a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lb_ros.dashboard import test_dashboard as shared

playwright = pytest.importorskip('playwright.sync_api')
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
if CHROMIUM is None:
    pytest.skip('needs Chromium (on Debian: apt install chromium)', allow_module_level=True)

binder = shared.binder
site = shared.site
LIMIT_MS = 30_000


@pytest.fixture(scope='module')
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        yield found
        found.close()


def opened(browser: Any, url: str, width: int = 1200) -> tuple[Any, list[str]]:
    page = browser.new_page(viewport={'width': width, 'height': 900})
    page.set_default_timeout(LIMIT_MS)
    problems: list[str] = []
    page.on('pageerror', lambda error: problems.append(str(error)))
    page.goto(url)
    page.wait_for_selector('.lb-row')
    page.wait_for_function("document.querySelectorAll('.lb-sensors img[src]').length === 2")
    return page, problems


def test_a_question_becomes_a_timeline_and_can_be_withdrawn(browser: Any, site: Any) -> None:
    page, problems = opened(browser, site[1])
    page.keyboard.press('/')
    page.keyboard.type('the stove is hot')
    page.keyboard.press('Enter')
    page.wait_for_function("lb.timeline.rows.get('the stove is hot')?.series.fused.length === 40")
    page.get_by_label('withdraw: the stove is hot').click()
    page.wait_for_function("!lb.timeline.rows.has('the stove is hot')")
    assert not problems


def test_a_moment_shows_all_sensors_and_holds_still(browser: Any, site: Any) -> None:
    page, problems = opened(browser, site[1])
    box = page.locator('.lb-row canvas').first.bounding_box()
    page.mouse.click(box['x'] + box['width'] * 0.5, box['y'] + 10)
    page.wait_for_function('lb.state.paused && lb.state.at !== null')
    at_s = page.evaluate('lb.state.at')
    page.locator('#rows').focus()
    page.keyboard.press('ArrowLeft')
    assert page.evaluate('lb.state.at') < at_s
    page.keyboard.press('Home')
    page.wait_for_function('[...lb.state.shown.values()].every((t) => t === 0)')
    assert page.locator('#rows').get_attribute('aria-valuetext') == '0.0 seconds'
    page.keyboard.press('Space')
    page.wait_for_function('!lb.state.paused && lb.state.at === null')
    assert not problems


def test_a_phone_shows_everything_without_sideways_scrolling(browser: Any, site: Any) -> None:
    page, problems = opened(browser, site[1], width=360)
    assert page.evaluate('document.documentElement.scrollWidth') <= 360
    for name in ('#sentence', '#pause', '#span'):
        assert page.locator(name).bounding_box()['height'] >= 40
    assert not problems
