"""A person labels a recording on its page: by keys, by buttons on a phone, and again later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lb_ros.dashboard.server import Site
from lb_ros.dashboard.session import Session
from tests.lb_ros.dashboard import test_dashboard as shared
from tests.pages import test_in_browser as pages
from train.bags.labels import read_label_file
from train.teaching.label_file import LabelFile

browser, serve = pages.browser, pages.serve
LID = 'the lid is on'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / 'kitchen.labels.csv'


@pytest.fixture
def session(path: Path) -> Session:
    """Twenty seconds of two sensors, with scores of one of two predicates."""
    found = shared.filled(live=False)
    found.labels = LabelFile(path, 'kitchen', names=['drawer', LID])
    return found


@pytest.fixture
def url(serve: Any, session: Session) -> Iterator[str]:
    with serve(Site(session)) as address:
        yield address


def rows_of(path: Path) -> list[tuple[str, float, float, str]]:
    return [
        (each.predicate, round(each.start_s, 3), round(each.end_s, 3), each.word)
        for each in read_label_file(path)
    ]


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def says(page: Any, words: str) -> None:
    page.locator('.lb-label-bar output', has_text=words).wait_for()


def at(page: Any, time_s: float) -> None:
    page.wait_for_function(f'Math.abs(lb.state.at - {time_s}) < 1e-6')


def test_keys_label_several_predicates_and_take_back(browser: Any, url: str, path: Path) -> None:
    with pages.dashboard(browser, url) as page:
        at(page, 0)
        says(page, f'labels are saved in {path}')
        assert page.evaluate('lb.state.chosen.name') == 'drawer'
        press(page, 'Shift+ArrowRight', 'Shift+ArrowRight', 't')
        says(page, 'drawer: true from 2.0 s')
        pressed = page.get_by_label('label: drawer').locator("[aria-pressed='true']")
        assert pressed.all_inner_texts() == ['true']
        press(page, *['Shift+ArrowRight'] * 3, 'f')  # false goes on where true ends
        says(page, 'drawer: saved: true 2.0 to 5.0 s')
        press(page, *['ArrowRight'] * 5, 'f')
        says(page, 'drawer: saved: false 5.0 to 5.5 s')
        press(page, 'ArrowDown', 'u', 'ArrowLeft', 'ArrowLeft', 'u')  # backwards as well
        says(page, f'{LID}: saved: unclear 5.3 to 5.5 s')
        expected = [('drawer', 2.0, 5.0, 'true'), ('drawer', 5.0, 5.5, 'false'),
                    (LID, 5.3, 5.5, 'unclear')]  # fmt: skip
        assert rows_of(path) == expected
        press(page, 't', 'Escape')
        says(page, f'{LID}: true from 5.3 s was not saved')
        press(page, 'ArrowUp', 'x')
        says(page, 'drawer: removed false 5.0 to 5.5 s')
        press(page, 'z')
        says(page, 'undone: drawer: removed false')
        press(page, 'Control+z')
        says(page, f'undone: {LID}: unclear 5.3 to 5.5 s')
        assert rows_of(path) == expected[:2]
        page.locator('.lb-marked', has_text='false 5.0 to 5.5 s').wait_for()
        pages.check_pictures_and_width(page, 2)


def test_a_page_that_is_opened_again_goes_on(
    browser: Any, serve: Any, path: Path, session: Session
) -> None:
    path.write_text('bag,predicate,start_s,end_s,truth\nkitchen,drawer,1,9,true\n')
    session.labels = LabelFile(path, 'kitchen', names=['drawer'])
    with serve(Site(session)) as url, pages.dashboard(browser, url) as page:
        page.goto(f'{url}/?at=4')
        at(page, 4)
        page.locator('.lb-marked', has_text='true 1.0 to 9.0 s').wait_for()
        press(page, 'z')
        says(page, 'nothing was labelled since the start')
        press(page, 'u', 'Shift+ArrowRight', 'u')
        says(page, 'saved: unclear 4.0 to 5.0 s')
        page.reload()
        page.wait_for_function("lb.timeline.rows.get('drawer')?.labels?.length === 3")
        path.write_text('bag,predicate,start_s,end_s,truth\nkitchen,drawer,1,9,maybe\n')
        at(page, 4)
        press(page, 't', 'ArrowRight', 't')
        page.locator(".lb-label-bar output[data-bad='1']", has_text='csv:2: truth must').wait_for()
        page.locator('.lb-marked', has_text='true from 4.0 s').wait_for()  # it is not lost
        path.unlink()
        press(page, 't')
        says(page, 'saved: true 4.0 to')


def test_buttons_label_on_a_phone_and_play(browser: Any, url: str, path: Path) -> None:
    with pages.dashboard(browser, url, width=pages.PHONE) as page:
        at(page, 0)
        buttons, bar = page.get_by_label(f'label: {LID}'), page.locator('.lb-label-buttons')
        for found in (*buttons.get_by_role('button').all(), *bar.get_by_role('button').all()):
            box = found.bounding_box()
            assert box['height'] >= 44 and box['width'] >= 44
        pages.check_pictures_and_width(page, 2)
        buttons.get_by_text('false').click()
        bar.get_by_text('+1 s', exact=True).click()
        bar.get_by_text('+0.1 s', exact=True).click()
        at(page, 1.1)
        for picture in page.locator('.lb-sensors img').all():  # what is labelled stays in view
            assert 0 <= picture.bounding_box()['y'] < 300
        buttons.get_by_text('false').click()
        says(page, f'{LID}: saved: false 0.0 to 1.1 s')
        assert rows_of(path) == [(LID, 0.0, 1.1, 'false')]
        bar.get_by_text('Remove', exact=True).click()
        says(page, 'removed false')
        bar.get_by_text('Undo', exact=True).click()
        says(page, 'undone')
        bar.get_by_text('Play', exact=True).click()
        page.wait_for_function('lb.state.at > 1.5')
        bar.get_by_text('Pause', exact=True).click()
        page.wait_for_function('!lb.labels.playing')


def test_a_question_becomes_a_line_that_can_be_labelled(
    browser: Any, serve: Any, binder: Any, session: Session, path: Path
) -> None:
    session.use(binder)
    with serve(Site(session)) as url, pages.dashboard(browser, url) as page:
        at(page, 0)
        page.fill('#sentence', 'the stove is hot')
        page.keyboard.press('Enter')
        row = page.get_by_label('label: the stove is hot')
        row.get_by_text('true').click()
        row.get_by_text('true').click()  # without moving: a moment
        says(page, 'the stove is hot: saved: true at 0.0 s')
        assert rows_of(path) == [('the stove is hot', 0.0, 0.0, 'true')]


binder = pages.binder
