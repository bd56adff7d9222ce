"""Every page in a real browser: no errors, all pictures, by mouse and keyboard, on a phone."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from encoders import STANDARD, Evidence, Predicate
from lb_ros.dashboard.server import Site
from lb_ros.dashboard.session import FUSED, Session
from lb_ros.dashboard.teaching import BagTeacher
from lb_ros.dashboard.why import Explainer
from tests.lb_ros.dashboard import test_dashboard as shared
from train.evaluation.page import TEMPLATE, curve_svg
from train.score.picture import write_picture
from train.score.timeline import Line, Timeline, write_page
from train.search.moment import Moment
from train.search.page import write_results_page
from train.template import render

playwright = pytest.importorskip('playwright.sync_api')
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
if CHROMIUM is None:
    pytest.skip('needs Chromium (on Debian: apt install chromium)', allow_module_level=True)

binder, reading = shared.binder, shared.reading
LIMIT_MS = 30_000
PHONE, DESK = 390, 1280
QUESTION = 'a red elephant flies'
LONG = 'kitchen_scene_with_a_very_long_name_that_has_no_space_in_it_1700000000000000000_12'
# Brightness of an image in the page, 0..255; NaN where it did not load.
BRIGHTNESS = """(image) => {
  if (!image.complete || image.naturalWidth === 0) return NaN;
  const pen = new OffscreenCanvas(16, 16).getContext('2d');
  pen.drawImage(image, 0, 0, 16, 16);
  return Math.max(...pen.getImageData(0, 0, 16, 16).data.filter((_, i) => i % 4 < 3));
}"""


@pytest.fixture(scope='module')
def browser() -> Iterator[Any]:
    arguments = ['--no-sandbox', '--allow-file-access-from-files']
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield found
        found.close()


@contextmanager
def opened(browser: Any, url: str | Path, *, width: int = DESK) -> Iterator[Any]:
    """A page that must load nothing from elsewhere, and is without errors when it is left."""
    page = browser.new_page(viewport={'width': width, 'height': 900})
    page.set_default_timeout(LIMIT_MS)
    problems: list[str] = []
    page.on('pageerror', lambda error: problems.append(str(error)))
    page.on('console', lambda line: problems.append(line.text)
            if line.type == 'error' and '422' not in line.text else None)  # fmt: skip
    address = url.as_uri() if isinstance(url, Path) else url
    origin = 'file:' if isinstance(url, Path) else address
    page.on('request', lambda asked: problems.append(asked.url)
            if not asked.url.startswith((origin, 'data:', 'blob:')) else None)  # fmt: skip
    page.goto(address)
    yield page
    assert not problems
    page.close()


def check_pictures_and_width(page: Any, pictures: int) -> None:
    """All pictures are loaded and not black, and nothing is wider than the window."""
    page.wait_for_function(
        f'document.images.length === {pictures} && [...document.images].every((i) => i.complete)'
    )
    levels = [image.evaluate(BRIGHTNESS) for image in page.query_selector_all('img')]
    assert all(level > 40 for level in levels), levels
    width = page.viewport_size['width']
    assert page.evaluate('document.scrollingElement.scrollWidth') <= width


# --- a scored bag --------------------------------------------------------------------------------


def line_of(name: str, caveats: dict[str, str]) -> Line:
    line = Line(name, states=[(0.0, 'UNKNOWN'), (2.0, 'TRUE'), (12.0, 'FALSE')])
    line.caveats, line.truth = [(0.0, caveats)], [(0.0, False), (2.5, True)]
    line.taught = [(0.0, 'taught (7 true, 6 false, 0.93 left out)')]
    for key in (FUSED, 'image', 'audio'):
        for index in range(200):
            if not (key == 'image' and 80 < index < 140):
                line.add(key, index / 10, 0.5 + 0.4 * math.sin(index / 30))
    return line


@pytest.fixture(scope='module')
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = [line_of('drawer open', {'audio': 'no vote'}), line_of(LONG, {}),
             line_of(QUESTION, {FUSED: 'not calibrated'})]  # fmt: skip
    pictures = [(float(t), m, shared.picture(t)) for m in ('image', 'audio') for t in range(20)]
    path = tmp_path_factory.mktemp('scored') / 'scores.html'
    write_page(Timeline('kitchen </script><b>', 20.0, lines, pictures), path)
    return path


@pytest.mark.parametrize('width', [DESK, PHONE])
def test_a_scored_bag_shows_its_sensors_at_every_moment(
    browser: Any, scored: Path, width: int
) -> None:
    with opened(browser, scored, width=width) as page:
        check_pictures_and_width(page, 2)
        assert page.locator('h1').inner_text() == 'kitchen </script><b>'
        box = page.locator('.lb-row canvas').first.bounding_box()
        page.mouse.move(box['x'] + box['width'] * 0.5, box['y'] + 20)
        label = page.locator('.lb-label').first
        page.wait_for_function("document.querySelector('.u-cursor-x').dataset.at.startsWith('9.')")
        assert label.inner_text().startswith('no vote: audio · 0.4')
        page.mouse.click(box['x'] + box['width'] * 0.1, box['y'] + 20)
        at_s = page.evaluate('timeline.cursor')
        assert at_s < 4
        assert page.locator('figcaption').first.inner_text() == f'image · {math.floor(at_s)}.0 s'
        page.locator('#rows').press('End')
        assert page.locator('.lb-time').inner_text().startswith('19.9 s')


def test_a_scored_bag_marks_what_is_not_calibrated(browser: Any, scored: Path) -> None:
    with opened(browser, scored) as page:
        page.wait_for_selector('.lb-row canvas >> nth=2')
        caveats = page.eval_on_selector_all('.lb-caveat', '(all) => all.map((x) => x.textContent)')
        assert caveats == ['', '', 'not calibrated']
        taught = page.locator('.lb-taught').first.inner_text()
        assert taught == 'taught (7 true, 6 false, 0.93 left out)'
        keys = page.evaluate('[...timeline.rows.values()].map((row) => [...row.keys].sort())')
        assert keys == [['audio?', FUSED, 'image'], ['audio', FUSED, 'image'],
                        ['audio', FUSED, f'{FUSED}?', 'image']]  # fmt: skip
        legend = page.locator('.lb-legend').inner_text()
        assert 'no vote' in legend and 'held true, not calibrated' in legend
        # A sensor that was silent for seconds leaves a gap in its line.
        row = "timeline.rows.get('drawer open')"
        page.wait_for_function(f'{row}.plot.status === 1')
        column = page.evaluate(f"{row}.data[{row}.keys.indexOf('image') + 1].slice(80, 142)")
        assert None in column


def test_a_sensor_without_a_vote_is_drawn_paler_than_a_voter(tmp_path: Path) -> None:
    inked = []
    for caveats in ({}, {'image': 'no vote'}):
        path = tmp_path / 'scores.png'
        write_picture(Timeline('x', 20.0, [line_of('x', caveats)], []), path)
        drawn = cv2.imread(str(path))[85:]  # below the legend
        orange = np.array([0x00, 0x9F, 0xE6])  # of the image, as in the legend
        inked.append(int((np.abs(drawn.astype(int) - orange).max(axis=2) < 40).sum()))
    assert inked[0] > 3 * inked[1]


# --- an index ------------------------------------------------------------------------------------


def moment(score: float, modality: str, *, calibrated: bool = True) -> Moment:
    cosines = dict.fromkeys(reversed(STANDARD), 0.1)
    return Moment(f'/bags/{LONG}', 3.0, 3, modality, '/topic', score, 0.7, cosines, calibrated)


MOMENTS = [moment(2.0, 'audio'), moment(0.5, 'depth', calibrated=False), moment(-0.4, 'image')]


@pytest.fixture(scope='module')
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('results')
    files = []
    for rank, found in enumerate(MOMENTS):
        files.append({m: str(folder / f'{rank}-{m}.jpg') for m in found.cosines})
        for path in files[-1].values():
            Path(path).write_bytes(shared.picture(rank))
    write_results_page('the drawer is <open>', MOMENTS, files, folder / 'index.html')
    return folder / 'index.html'


def check_answers(page: Any, width: int) -> None:
    """Sensors in one order, doubtful numbers marked, and weak answers apart from finds."""
    page.eval_on_selector_all('details', '(all) => all.forEach((one) => { one.open = true; })')
    page.eval_on_selector_all('img', "(all) => all.forEach((one) => { one.loading = 'eager'; })")
    check_pictures_and_width(page, 12)
    orders = page.eval_on_selector_all(
        '.lb-found',
        "(all) => all.map((row) => [...row.querySelectorAll('img')].map((i) => i.alt))",
    )
    assert orders == [['image', 'depth', 'infrared', 'audio']] * 3
    finds = page.locator('main > .lb-row')
    assert finds.count() == 2 and page.locator('details .lb-row').count() == 1
    assert finds.nth(0).locator('.lb-caveat').count() == 0
    assert finds.nth(1).locator('.lb-caveat').inner_text() == 'not calibrated'
    explained = page.locator('details').first.inner_text()
    for words in ('standard deviations', 'Probability', 'cosine'):
        assert words in explained


@pytest.mark.parametrize('width', [DESK, PHONE])
def test_answers_are_in_one_order_and_explained(browser: Any, results: Path, width: int) -> None:
    with opened(browser, results, width=width) as page:
        assert page.locator('h1').inner_text() == 'the drawer is <open>'
        check_answers(page, width)


@pytest.mark.parametrize('width', [DESK, PHONE])
def test_an_index_answers_a_sentence(browser: Any, serve: Any, width: int) -> None:
    def search(sentence: str) -> list[Moment]:
        if sentence == 'too long':
            raise ValueError('the sentence is too long')
        return MOMENTS

    site = Site(Session('moments', live=False), search=search,
                thumbnail=lambda bag, modality, stamp_ns: shared.picture(stamp_ns))  # fmt: skip
    with serve(site) as url, opened(browser, url, width=width) as page:
        page.fill('#sentence', 'the drawer is open')
        page.keyboard.press('Enter')
        page.wait_for_selector('main > .lb-row')
        check_answers(page, width)
        assert page.input_value('#sentence') == 'the drawer is open'
        page.fill('#sentence', 'too long')
        page.keyboard.press('Enter')
        page.wait_for_selector('[role=alert]')
        assert page.locator('[role=alert]').inner_text() == 'the sentence is too long'


# --- the report of a training --------------------------------------------------------------------


@pytest.fixture(scope='module')
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    curves = {f'a long name of line {i}': [(s, 1e-5 * s * i) for s in range(9)] for i in range(6)}
    sentence = 'the gripper lost its object on the way to the upper basket of the tray'
    table = {'candidates': 107, 'recall': dict.fromkeys((1, 5, 10), '0.050 [0.000, 0.125]'),
             'median_rank': {'value': 10.0}, 'chance': 0.04}  # fmt: skip
    example = {
        'modality': 'infrared', 'key': LONG, 'picture': '',
        'nearest': [{'text': sentence, 'cosine': 0.2, 'true': True}] * 3, 'recorded': [sentence],
    }  # fmt: skip
    path = tmp_path_factory.mktemp('report') / 'report.html'
    path.write_text(
        render(
            TEMPLATE,
            name=LONG,
            curves=[('Loss', curve_svg(curves))] * 4,
            pairs=40,
            sentences=9,
            origin='pairs',
            recalls=(1, 5, 10),
            retrieval={'infrared -> text': table},
            confusions=[{'title': 'x', 'names': [sentence] * 8, 'counts': [[100] * 8] * 8}],
            examples=[example, example],
        )
    )
    return path


@pytest.mark.parametrize('width', [DESK, PHONE])
def test_a_report_leaves_sentences_room_and_labels_whole(
    browser: Any, report: Path, width: int
) -> None:
    with opened(browser, report, width=width) as page:
        check_pictures_and_width(page, 0)
        narrowest = page.eval_on_selector_all(
            '.example li, table td:first-child',
            '(all) => Math.min(...all.map((x) => x.getBoundingClientRect().width))',
        )
        assert narrowest >= 120
        outside = page.eval_on_selector_all(
            'svg',
            """(all) => all.flatMap((svg) => {
              const frame = svg.getBoundingClientRect();
              return [...svg.querySelectorAll('[id^="text_"]')].filter((text) => {
                const box = text.getBoundingClientRect();
                return box.left < frame.left - 1 || box.right > frame.right + 1
                    || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
              }).map((text) => text.id);
            })""",
        )
        assert outside == []


# --- the dashboard -------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def serve() -> Callable[[Site], Any]:
    return contextmanager(shared.served)


@pytest.fixture(scope='module')
def url(serve: Any, binder: Any) -> Iterator[str]:
    """A dashboard of a filled session, with a predicate that is not calibrated."""
    session = shared.filled(binder)
    scores = {FUSED: {QUESTION: 0.9}, 'depth': {QUESTION: 0.9}}
    session.add_scores(shared.START_NS, scores, caveats={QUESTION: {FUSED: 'not calibrated'}})
    session.add_states(shared.START_NS, {QUESTION: 'TRUE'})
    with serve(Site(session)) as address:
        yield address


@contextmanager
def dashboard(browser: Any, url: str, *, width: int = DESK) -> Iterator[Any]:
    with opened(browser, url, width=width) as page:
        page.wait_for_selector('.lb-row canvas')
        page.wait_for_function("document.querySelectorAll('.lb-sensors img[src]').length === 2")
        yield page


def test_a_question_becomes_a_timeline_that_a_reload_keeps_and_removal_ends(
    browser: Any, url: str
) -> None:
    with dashboard(browser, url) as page:
        page.keyboard.press('/')
        page.keyboard.type('the stove is hot')
        page.keyboard.press('Enter')
        answered = "lb.timeline.rows.get('the stove is hot')?.data[0].length === 20"
        page.wait_for_function(answered)
        page.reload()
        page.wait_for_function(answered)
        row = page.locator('.lb-row', has_text='the stove is hot')
        row.locator('.lb-caveat', has_text='not calibrated').wait_for()
        page.get_by_label('remove: the stove is hot').click()
        page.wait_for_function("!lb.timeline.rows.has('the stove is hot')")
        page.reload()
        page.wait_for_selector('.lb-row canvas')
        assert page.evaluate('[...lb.timeline.rows.keys()].sort()') == [QUESTION, 'drawer']


def test_a_question_is_shown_at_once_and_answered_when_there_is_a_model(
    browser: Any, serve: Any, binder: Any
) -> None:
    session = shared.filled()
    with serve(Site(session)) as url, dashboard(browser, url) as page:
        page.fill('#sentence', 'the stove is hot')
        page.keyboard.press('Enter')
        pending = page.locator('.lb-pending', has_text='the stove is hot')
        pending.wait_for()
        session.use(binder)
        pending.wait_for(state='detached')
        page.wait_for_function("lb.timeline.rows.get('the stove is hot').data[0].length === 20")


def test_a_refused_question_is_gone_and_explained(browser: Any, url: str) -> None:
    with dashboard(browser, url) as page:
        page.evaluate("document.querySelector('#sentence').maxLength = 9000")
        page.fill('#sentence', 'very ' * 800 + 'hot')
        with page.expect_response('**/api/ask*') as answer:
            page.keyboard.press('Enter')
        assert answer.value.status == 422
        page.wait_for_selector(".lb-message[data-bad='1']")
        assert page.evaluate('lb.timeline.rows.size') == 2


def test_a_moment_shows_all_sensors_and_holds_still(browser: Any, url: str) -> None:
    with dashboard(browser, url) as page:
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


@pytest.mark.parametrize('width', [DESK, PHONE])
def test_the_dashboard_shows_everything_on_a_phone_too(browser: Any, url: str, width: int) -> None:
    with dashboard(browser, url, width=width) as page:
        check_pictures_and_width(page, 2)
        for name in ('#sentence', '#pause', '#span'):
            assert page.locator(name).bounding_box()['height'] >= 40
        row = page.locator('.lb-row', has_text=QUESTION)
        row.locator('.lb-caveat', has_text='not calibrated').wait_for()


@pytest.fixture(scope='module')
def explained(serve: Any, reading: Any) -> Iterator[str]:
    """A dashboard of a filled session whose depth readout can be asked why."""
    session = shared.filled(reading)
    evidence = reading.observe(depth=np.full((48, 64), 900, np.uint16))['depth']

    def observe(modality: str, stamp_ns: int) -> Any:
        if stamp_ns < shared.START_NS + 2 * shared.SECOND_NS:
            raise ValueError('the tokens of that time are not kept')
        return stamp_ns, evidence

    drawer = Predicate('drawer', ('the drawer is open',), ('the drawer is closed',))
    session.explain = Explainer(reading, [drawer], observe)
    with serve(Site(session)) as address:
        yield address


@pytest.mark.parametrize('width', [DESK, PHONE])
def test_why_shows_where_the_readout_looks(browser: Any, explained: str, width: int) -> None:
    with dashboard(browser, explained, width=width) as page:
        why = page.get_by_label('why: drawer')
        box = why.bounding_box()
        assert box['width'] >= 32 and box['height'] >= 32
        why.focus()
        page.keyboard.press('Enter')
        image = page.locator('.lb-why img')
        image.wait_for(state='visible')
        assert why.get_attribute('aria-expanded') == 'true'
        assert image.get_attribute('alt').endswith('where the readout looks for drawer')
        check_pictures_and_width(page, 3)
        page.locator('#rows').press('Home')  # the moment chosen is the moment explained
        reason = page.locator('.lb-why figcaption', has_text='the tokens of that time')
        reason.wait_for()
        image.wait_for(state='hidden')
        page.keyboard.press('End')
        image.wait_for(state='visible')
        why.click()
        page.locator('.lb-why').wait_for(state='detached')
        assert why.get_attribute('aria-expanded') == 'false'


def test_a_question_is_explained_too_and_taken_away_with_its_explanation(
    browser: Any, explained: str
) -> None:
    with dashboard(browser, explained) as page:
        page.fill('#sentence', 'the stove is hot')
        page.keyboard.press('Enter')
        page.get_by_label('why: the stove is hot').click()
        page.locator('.lb-why img').wait_for(state='visible')
        page.get_by_label('remove: the stove is hot').click()
        page.locator('.lb-why').wait_for(state='detached')


def test_without_a_readout_nothing_can_be_asked_why(browser: Any, url: str) -> None:
    with dashboard(browser, url) as page:
        assert page.locator('.lb-ask-why').count() == 0


class Halves:
    """Evidence of a depth sensor that looks the same for ten seconds, and opposite afterwards."""

    def __init__(self) -> None:
        self._vector = np.eye(1, 384, dtype=np.float32)[0]

    def vector_at(self, time_ns: int) -> Any:
        return self._vector if time_ns < shared.START_NS + 10 * shared.SECOND_NS else -self._vector

    def at(self, time_ns: int) -> dict[str, list[Evidence]]:
        return {'depth': [Evidence(self.vector_at(time_ns))]}


@pytest.fixture
def taught(serve: Any, binder: Any, tmp_path: Path) -> Iterator[str]:
    """A dashboard of a recording that can be taught."""
    session, halves = Session('kitchen', live=False), Halves()
    session.use(binder)
    for second in range(20):
        now_ns = shared.START_NS + second * shared.SECOND_NS
        session.add_embedding(now_ns, 'depth', halves.vector_at(now_ns))
        for modality in ('depth', 'image'):
            session.add_picture(now_ns, modality, shared.picture(second))
    session.ask('the lid is on')
    path = tmp_path / 'x.taught.safetensors'
    session.teacher = BagTeacher(session, binder, [], halves, path=path, source='kitchen')
    with serve(Site(session)) as address:
        yield address


def shows_state(page: Any, time_s: float, state: str) -> None:
    page.wait_for_function(
        f"lbAt(lb.timeline.rows.get('the lid is on').states, {time_s}) === '{state}'"
    )


@pytest.mark.parametrize('width', [DESK, PHONE])
def test_presses_teach_a_line_and_are_undone(browser: Any, taught: str, width: int) -> None:
    with dashboard(browser, taught, width=width) as page:
        group = page.get_by_label('teach: the lid is on')
        least = 44 if width == PHONE else 32
        for word in ('true', 'false', 'undo'):
            box = group.get_by_text(word, exact=True).bounding_box()
            assert box['height'] >= least and box['width'] >= least
        lesson, canvas = page.locator('.lb-lesson'), page.locator('.lb-row canvas').first
        summary = page.locator('.lb-taught')
        for count, (share, word) in enumerate([(0.2, 'true'), (0.9, 'false')] * 2, start=1):
            box = canvas.bounding_box()
            page.mouse.click(box['x'] + box['width'] * share, box['y'] + 20)
            assert abs(page.evaluate('lb.state.at / lb.timeline.to') - share) < 0.1
            group.get_by_text(word, exact=True).click()
            presses = f'{(count + 1) // 2} true, {count // 2} false'
            lesson.filter(has_text=presses).wait_for()
            summary.filter(has_text=presses).wait_for()  # it moves the canvas down
        lesson.filter(has_text='left out').wait_for()
        assert 'depth 100 %' in lesson.inner_text()
        shows_state(page, 5.0, 'TRUE')
        shows_state(page, 15.0, 'FALSE')
        summary.filter(has_text='taught (2 true, 2 false').wait_for()
        check_pictures_and_width(page, 2)
        page.keyboard.press('u')  # the focus is still on a button of this line
        lesson.filter(has_text='2 true, 1 false').wait_for()
        page.reload()
        summary.filter(has_text='taught (2 true, 1 false)').wait_for()


def test_a_key_teaches_the_chosen_line_only(browser: Any, taught: str) -> None:
    with dashboard(browser, taught) as page:
        page.keyboard.press('t')
        page.locator('[role=status]', has_text='choose a timeline first').wait_for()
        page.keyboard.press('ArrowDown')
        page.keyboard.press('t')
        lesson = page.locator('.lb-lesson', has_text='1 true, 0 false')
        lesson.filter(has_text='press false').wait_for()
        page.keyboard.press('u')
        page.locator('.lb-lesson', has_text='0 true, 0 false').wait_for()
        page.keyboard.press('u')  # there is none, which is said
        page.locator(".lb-message[data-bad='1']", has_text='no presses').wait_for()


def test_the_least_certain_moment_is_one_click_away(browser: Any, taught: str) -> None:
    with dashboard(browser, taught) as page:
        learned = {'true_presses': 2, 'false_presses': 2, 'left_out': 0.95, 'low': 0.5, 'high': 1}
        learned |= {'sensors': [['depth', 1]], 'next': 'least certain (0.52)', 'next_s': 12.5}
        page.evaluate(f"showLesson(lb.timeline.rows.get('the lid is on'), {json.dumps(learned)})")
        page.get_by_text('least certain: 12.5 s').click()
        assert page.evaluate('lb.state.at') == 12.5


def test_a_bag_shows_how_far_it_is(browser: Any, serve: Any) -> None:
    session = Session('kitchen', live=False)
    session.message, session.progress = 'encoding kitchen', 0.4
    with serve(Site(session)) as url, opened(browser, url) as page:
        page.locator('[role=status]', has_text='encoding kitchen: 40 %').wait_for()
        assert page.locator('progress').evaluate('(bar) => bar.value') == 0.4
        session.message, session.progress = '', None
        page.locator('progress').wait_for(state='hidden')
        assert page.locator('[role=status]').inner_text() == ''


def test_a_page_whose_server_is_gone_says_so(browser: Any) -> None:
    serving = shared.served(Site(shared.filled()))
    page = browser.new_page(viewport={'width': DESK, 'height': 900})
    problems: list[str] = []
    page.on('pageerror', lambda error: problems.append(str(error)))
    page.goto(next(serving))
    page.locator('figure img').first.wait_for()
    serving.close()
    page.get_by_text('no answer from lb-ros dashboard').wait_for(timeout=LIMIT_MS)
    # Pictures are asked for more often than news.
    page.wait_for_timeout(1500)
    page.close()
    assert not problems
