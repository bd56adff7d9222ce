"""A person teaches a running robot on the page: ask, press, look back, undo, restart."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from encoders import Binder
from lb_ros.dashboard.server import Site
from lb_ros.dashboard.session import Session
from tests.domains import own_domain
from tests.lb_ros.dashboard import test_dashboard as shared
from tests.lb_ros.evidence import START_S, Source, running
from tests.pages import test_in_browser as pages

pytestmark = [pytest.mark.ros, pytest.mark.slow]
browser = pages.browser
# Its text says the opposite of what is pressed.
SENTENCE = 'the drawer is closed'


@contextmanager
def robot_page(binder: Binder) -> Iterator[str]:
    """The address of the dashboard of the robot in the domain of the environment."""
    from lb_ros.dashboard.live import DashboardNode, listen
    from lb_ros.dashboard.robot_teacher import RobotTeacher

    session, stop = Session('live', live=True), threading.Event()
    teacher = session.teacher = RobotTeacher(session)
    node = DashboardNode(session, load=lambda model: binder, predicates=[])
    thread = threading.Thread(target=listen, args=(node, session, stop))
    thread.start()
    try:
        yield from shared.served(Site(session))
    finally:
        stop.set()
        thread.join()
        node.destroy_node()
        teacher.close()


@contextmanager
def opened(browser: Any, url: str, *, width: int) -> Iterator[Any]:
    """A page as of the other tests, for as long as nodes may take to start."""
    with pages.opened(browser, url, width=width) as page:
        page.set_default_timeout(START_S * 1000)
        yield page


def press(page: Any, word: str) -> None:
    page.get_by_label(f'teach: {SENTENCE}').get_by_text(word, exact=True).click()


def waits_for(page: Any, words: str) -> None:
    page.locator('.lb-lesson', has_text=words).wait_for()


def waits_for_state(page: Any, state: str, at: str = 'Infinity') -> None:
    row = f"lb.timeline.rows.get('{SENTENCE}')"
    page.wait_for_function(f"{row} && lbAt({row}.states, {at}) === '{state}'")


def show(page: Any, source: Source, value: int) -> None:
    """Have the robot see something else, and wait until the page has its score."""
    source.shows = value
    waits_for_named = 'open' if value > 0 else 'closed'
    page.wait_for_function(
        f"lbAt(lb.timeline.rows.get('{waits_for_named}')?.states ?? [], Infinity) === 'TRUE'"
    )


def test_a_person_teaches_a_robot_on_its_page(
    browser: Any, tiny_model_set: Path, tmp_path: Path
) -> None:
    pytest.importorskip('rclpy')
    import rclpy

    binder = Binder.load(tiny_model_set)
    with own_domain():
        rclpy.init()
        source = Source(binder)
        try:
            with robot_page(binder) as url:
                with (
                    running('predicates', tiny_model_set, tmp_path),
                    opened(browser, url, width=pages.DESK) as page,
                ):
                    _teach(page, source)
                with (  # a restart
                    running('predicates', tiny_model_set, tmp_path),
                    opened(browser, url, width=pages.PHONE) as page,
                ):
                    source.shows = -1
                    waits_for_state(page, 'FALSE')
                    show(page, source, 1)
                    waits_for_state(page, 'TRUE')
                    page.locator('.lb-taught', has_text='taught (5 true, 4 false').wait_for()
                    pages.check_pictures_and_width(page, 0)
        finally:
            source.close()
            rclpy.try_shutdown()


def _teach(page: Any, source: Source) -> None:
    show(page, source, 1)
    page.fill('#sentence', SENTENCE)
    page.keyboard.press('Enter')
    page.wait_for_function(f"lb.timeline.rows.get('{SENTENCE}')?.answers.length > 20")
    first_s = page.evaluate('lb.state.now')
    row = f"lb.timeline.rows.get('{SENTENCE}')"
    assert page.evaluate(f'lbAt({row}.states, {first_s})') != 'TRUE'
    for count in range(1, 6):
        for value, word in ((1, 'true'), (-1, 'false')):
            show(page, source, value)
            press(page, word)
            other = count if word == 'false' else count - 1
            waits_for(page, f'{count} true, {other} false')
    waits_for(page, 'left out')
    page.get_by_label(f'remove: {SENTENCE}').wait_for(state='detached')  # the robot's own now
    waits_for_state(page, 'FALSE')
    show(page, source, 1)
    waits_for_state(page, 'TRUE')
    page.locator('.lb-taught', has_text='taught (5 true, 5 false').wait_for()
    # Before the first press it was not TRUE; the past is answered again with what was learned.
    page.evaluate(f'lb.timeline.setCursor({first_s})')
    waits_for_state(page, 'TRUE', at=str(first_s))
    press(page, 'undo')
    waits_for(page, '5 true, 4 false')
