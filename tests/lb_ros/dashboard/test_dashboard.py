"""The dashboard's session and server: what a page is told, and what it may ask."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders import Binder, Predicate
from encoders.predicates.taught_file import load_lessons
from encoders.shipped import shipped
from lb_ros.dashboard.server import Site, make_app
from lb_ros.dashboard.session import FUSED, QuestionError, Session
from tests.readouts import copy_with_readouts
from tests.waiting import wait_until

uvicorn = pytest.importorskip('uvicorn')

START_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000


@pytest.fixture(scope='session')
def binder(tiny_model_set: Path) -> Binder:
    return Binder.load(tiny_model_set)


@pytest.fixture(scope='session')
def reading(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Binder:
    """A binder with readouts of depth and image."""
    folder = tmp_path_factory.mktemp('reading') / 'set'
    modalities = ['depth', 'image']
    return Binder.load(copy_with_readouts(tiny_model_set, folder, modalities=modalities))


def picture(index: int) -> bytes:
    """A bright JPEG, a little different for each index."""
    plane = np.full((48, 64, 3), (40, 160, 120 + index % 100), np.uint8)
    return bytes(cv2.imencode('.jpg', plane)[1].tobytes())


def filled(binder: Binder | None = None, *, seconds: int = 20, live: bool = True) -> Session:
    """A session with one predicate, evidence of two sensors and pictures, once a second."""
    session = Session('kitchen', live=live, keep_s=60.0)
    rng = np.random.default_rng(0)
    for index in range(seconds):
        now_ns = START_NS + index * SECOND_NS
        scores = {FUSED: {'drawer': index / 100}, 'depth': {'drawer': 0.5}}
        session.add_scores(now_ns, scores, caveats={'drawer': {'depth': 'no vote'}})
        session.add_states(now_ns, {'drawer': 'TRUE' if index % 10 > 5 else 'FALSE'})
        session.add_truth(now_ns, {'drawer': index % 10 > 4, 'nobody asks': True})
        for modality in ('depth', 'audio'):
            vector = rng.normal(size=384).astype(np.float32)
            session.add_embedding(now_ns, modality, vector / np.linalg.norm(vector))
            session.add_picture(now_ns, modality, picture(index))
    if binder is not None:
        session.use(binder)
    return session


def test_updates_are_sent_once_and_states_only_on_change() -> None:
    session = filled()
    news = session.updates(0)
    (line,) = news['lines']
    assert line['name'] == 'drawer'
    assert line['series'][FUSED]['t'] == list(range(20))
    assert [value for _, value in line['states']] == ['FALSE', 'TRUE', 'FALSE', 'TRUE']
    assert [value for _, value in line['truth']] == [False, True, False, True]
    assert line['caveats'] == [(0.0, {'depth': 'no vote'})]
    assert session.updates(news['sequence'])['lines'] == []
    session.add_scores(START_NS + 20 * SECOND_NS, {FUSED: {'drawer': None}})
    more = session.updates(news['sequence'])['lines'][0]
    assert more['series'] == {FUSED: {'t': [20.0], 'p': [None]}}
    assert more['states'] == [] == more['truth']


def test_a_question_is_answered_from_the_past_and_from_then_on(binder: Binder) -> None:
    session = filled(binder)
    since = session.updates(0)['sequence']
    session.ask('the  drawer is open')
    line = next(x for x in session.updates(since)['lines'] if x['name'] == 'the drawer is open')
    assert line['series'][FUSED]['t'] == [float(i) for i in range(20) for _ in range(2)]
    assert set(line['series']) == {FUSED, 'depth', 'audio'}
    assert line['states'][0][1] in ('UNKNOWN', 'TRUE', 'FALSE')
    since = session.updates(0)['sequence']
    session.add_embedding(START_NS + 20 * SECOND_NS, 'depth', np.eye(1, 384, dtype=np.float32)[0])
    assert session.updates(since)['lines'][0]['series']['depth']['t'] == [20.0]
    assert line['caveats'][0] == (0.0, {FUSED: 'not calibrated'})
    assert session.updates(0)['questions'] == ['the drawer is open']
    session.withdraw('the drawer is open')
    assert [x['name'] for x in session.updates(0)['lines']] == ['drawer']
    assert session.updates(0)['questions'] == []
    since = session.updates(0)['sequence']
    session.add_embedding(START_NS + 21 * SECOND_NS, 'depth', np.eye(1, 384, dtype=np.float32)[0])
    assert session.updates(since)['lines'] == []


def test_a_question_is_answered_over_ten_minutes(binder: Binder) -> None:
    """Of four sensors at 10 Hz; `benchmarks/dashboard.py` measures how long that takes."""
    session = Session('long', live=True)
    session.use(binder)
    vectors = np.eye(384, dtype=np.float32)
    for index in range(24_000):
        modality = ('image', 'depth', 'infrared', 'audio')[index % 4]
        session.add_embedding(START_NS + index // 4 * 100_000_000, modality, vectors[index % 384])
    session.ask('the stove is hot')
    (line,) = session.updates(0)['lines']
    assert line['series'][FUSED]['t'][-1] == 599.9
    assert set(line['series']) == {FUSED, 'image', 'depth', 'infrared', 'audio'}


def test_a_late_reader_gets_the_newest_point_of_every_line(binder: Binder) -> None:
    """However often one line is told in comparison with the others."""
    session = Session('long', live=True)
    session.use(binder)
    session.ask('the stove is hot')
    vector = np.eye(1, 384, dtype=np.float32)[0]
    for index in range(4000):
        now_ns = START_NS + index * 100_000_000
        session.add_embedding(now_ns, ('image', 'depth')[index % 2], vector)
        session.add_scores(now_ns, {FUSED: {'drawer': 0.5}})
    lines = {line['name']: line for line in session.updates(0)['lines']}
    told = {name: line['series'][FUSED]['t'] for name, line in lines.items()}
    assert {name: times[-1] for name, times in told.items()} == dict.fromkeys(told, 399.9)
    assert all(1000 < len(times) <= 4000 for times in told.values())
    assert lines['the stove is hot']['series']['image']['t'][-1] == 399.8


def test_old_points_are_dropped_except_in_a_recording() -> None:
    live, recorded = filled(seconds=200), filled(seconds=200, live=False)
    assert min(live.updates(0)['lines'][0]['series'][FUSED]['t']) == pytest.approx(139, abs=1)
    assert live.picture('depth', 0.0)[0] == pytest.approx(139, abs=1)  # type: ignore[index]
    assert min(recorded.updates(0)['lines'][0]['series'][FUSED]['t']) == 0


def test_changes_older_than_the_kept_points_still_hold() -> None:
    session = Session('long', live=True, keep_s=60.0)
    session.add_scores(START_NS, {FUSED: {'x': 0.9}}, caveats={'x': {FUSED: 'not calibrated'}})
    session.add_states(START_NS, {'x': 'TRUE'})
    for index in range(200):
        session.add_scores(START_NS + index * SECOND_NS, {FUSED: {'x': 0.9}})
    (line,) = session.updates(0)['lines']
    first_s = line['series'][FUSED]['t'][0]
    assert first_s > 100
    assert line['states'] == [(first_s, 'TRUE')]
    assert line['caveats'] == [(first_s, {FUSED: 'not calibrated'})]


def test_unusable_questions_are_answered_with_a_reason(
    binder: Binder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('lb_ros.dashboard.session.MODEL_WAIT_S', 0.0)
    with pytest.raises(QuestionError, match='no model'):
        filled().ask('it is open')
    session = filled(binder)
    with pytest.raises(QuestionError, match='empty'):
        session.ask('   ')
    for index in range(20):
        session.ask(f'it is number {index}')
    with pytest.raises(QuestionError, match='20 questions'):
        session.ask('one more')


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 100), min_size=1, max_size=30, unique=True), st.floats(-5, 120))
def test_the_picture_at_a_moment_is_the_last_before_it(times: list[int], at_s: float) -> None:
    session = Session('x', live=False)
    session.seconds(START_NS)
    for time_s in sorted(times):
        session.add_picture(START_NS + time_s * SECOND_NS, 'image', bytes([time_s]))
    found = session.picture('image', at_s)
    before = [time_s for time_s in times if time_s <= at_s]
    assert found is not None and found[0] == (max(before) if before else min(times))


def served(site: Site) -> Iterator[str]:
    """The address of a site, while it is served."""
    config = uvicorn.Config(make_app(site), port=0, log_level='error')
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    host, port = server.servers[0].sockets[0].getsockname()
    try:
        yield f'http://{host}:{port}'
    finally:
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope='module')
def url(binder: Binder) -> Iterator[str]:
    """The address of a site over a filled session."""
    yield from served(Site(filled(binder)))


def get(url: str, **options: Any) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **options), timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_server_serves_the_page_and_takes_questions(url: str) -> None:
    assert b'lb-page' in get(f'{url}/')[1]
    for name in (
        'timeline.js',
        'timeline.css',
        'dashboard.js',
        'dashboard.css',
        'uPlot.iife.min.js',
        'uPlot.min.css',
    ):
        assert get(f'{url}/static/{name}')[0] == 200
    assert json.loads(get(f'{url}/api/session')[1]) == {
        'title': 'kitchen',
        'live': True,
        'labels': None,
    }
    news = json.loads(get(f'{url}/api/updates?since=0')[1])
    assert news['modalities'] == ['depth', 'audio']
    assert get(f'{url}/api/picture/depth?t=7.5')[1] == picture(7)
    body = json.dumps({'sentence': 'the stove is hot'}).encode()
    headers = {'Content-Type': 'application/json'}
    assert get(f'{url}/api/ask', data=body, headers=headers)[0] == 200
    since = news['sequence']
    names = [x['name'] for x in json.loads(get(f'{url}/api/updates?since={since}')[1])['lines']]
    assert names == ['the stove is hot']
    assert get(f'{url}/api/ask', data=body, headers=headers, method='DELETE')[0] == 200


@pytest.mark.parametrize(
    ('path', 'options', 'status'),
    [
        ('/static/..%2fserver.py', {}, 404),
        ('/static/nothing.js', {}, 404),
        ('/api/updates?since=x', {}, 404),
        ('/api/updates?bag=/etc', {}, 404),
        ('/api/picture/smell', {}, 404),
        ('/api/picture/depth?t=soon', {}, 400),
        ('/api/why/depth?name=drawer', {}, 422),
        ('/api/why/depth?name=drawer&t=soon', {}, 400),
        ('/api/why/depth?name=drawer&bag=/etc', {}, 404),
        ('/api/search?sentence=it', {}, 400),
        ('/api/ask', {'data': b'{"sentence": "it"}'}, 415),
        ('/api/teach', {'data': b'{"name": "drawer", "truth": true}'}, 415),
        ('/api/teach', {'data': b'{"name": "drawer"}',
                        'headers': {'Content-Type': 'application/json'}}, 400),
        ('/api/teach', {'data': b'{"name": "drawer", "truth": true}',
                        'headers': {'Content-Type': 'application/json'}}, 422),
        ('/api/ask', {'data': b'[]', 'headers': {'Content-Type': 'application/json'}}, 400),
        ('/api/ask', {'data': b'{', 'headers': {'Content-Type': 'application/json'}}, 400),
        ('/api/ask', {'data': b'{"sentence": ""}',
                      'headers': {'Content-Type': 'application/json'}}, 422),
    ],
)  # fmt: skip
def test_unusable_requests_are_refused(
    url: str, path: str, options: dict[str, Any], status: int
) -> None:
    assert get(url + path, **options)[0] == status


def test_a_recorded_bag_fills_a_session(
    binder: Binder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from encoders import load_predicates
    from lb_ros.dashboard.recorded import load_bag

    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    session = Session('demo', live=False)
    bag = shipped('lb_ros/data/demo_bag')
    load_bag(session, bag, binder, load_predicates(shipped('config/predicates.yaml')))
    news = session.updates(0)
    assert news['now'] == pytest.approx(28.1, abs=0.2)
    assert news['modalities'] == ['image', 'depth', 'infrared', 'audio']
    lines = {line['name']: line for line in news['lines']}
    assert [v for _, v in lines['stove_hot']['truth']] == [False, True]
    assert set(lines['drawer_open']['series']) == {FUSED, *news['modalities']}
    assert [said for _, said in lines['stove_hot']['caveats']] == [{FUSED: 'not calibrated'}]
    assert news['progress'] is None
    session.ask('the gripper is empty')
    assert 'the gripper is empty' in {x['name'] for x in session.updates(0)['lines']}


@pytest.fixture(scope='module')
def recorded(reading: Binder, tmp_path_factory: pytest.TempPathFactory) -> tuple[Session, Path]:
    """The demo bag, read with readouts, and the file that keeps what is taught."""
    from encoders import load_predicates
    from lb_ros.dashboard.recorded import load_bag

    folder = tmp_path_factory.mktemp('recorded')
    session = Session('demo', live=False)
    bag = shipped('lb_ros/data/demo_bag')
    predicates = load_predicates(shipped('config/predicates.yaml'))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(folder))
        load_bag(session, bag, reading, predicates, taught=folder / 'x.taught.safetensors')
    return session, folder / 'x.taught.safetensors'


def line_of(session: Session, name: str) -> dict[str, Any]:
    (line,) = (line for line in session.updates(0)['lines'] if line['name'] == name)
    return dict(line)


def test_a_recorded_bag_explains_its_predicates_and_questions(
    recorded: tuple[Session, Path],
) -> None:
    session, _ = recorded
    assert session.updates(0)['why'] == ['image', 'depth']
    for name, modality, time_s in (
        ('drawer_open', 'depth', 3.0),
        ('the cup is on the plate', 'image', 12.5),
        ('drawer_open', 'image', None),
    ):
        plain = session.picture(modality, time_s)
        found_s, jpeg = session.why(name, modality, time_s)
        assert plain is not None and found_s == plain[0]
        before, after = (cv2.imdecode(np.frombuffer(one, np.uint8), 1) for one in (plain[1], jpeg))
        assert before.shape == after.shape and (np.abs(before - after) > 30).any()
    for modality, told in (('audio', 'no readout of audio'), ('smell', 'no smell image')):
        with pytest.raises(ValueError, match=told):
            session.why('drawer_open', modality, 1.0)


def test_a_question_about_a_recorded_bag_is_read_from_tokens(
    recorded: tuple[Session, Path], reading: Binder
) -> None:
    session, _ = recorded
    assert session.past is not None
    moments = session.past()
    assert 80 <= len(moments) <= 101
    seen = [each for _, fresh in moments for each in fresh.items()]
    assert {name for name, each in seen if each.evidence.tokens is not None} == set(
        reading.readouts
    )
    session.ask('the cup is on the plate')
    assert line_of(session, 'the cup is on the plate')['series'][FUSED]['t'] == [
        session.seconds(time_ns) for time_ns, _ in moments
    ]
    session.withdraw('the cup is on the plate')


def test_a_recorded_bag_is_taught_and_its_past_answered_again(
    recorded: tuple[Session, Path], reading: Binder
) -> None:
    session, path = recorded
    before = line_of(session, 'stove_hot')
    told = session.teach('stove_hot', True, time_s=24.0, seconds=0.0)
    assert told.next == 'press false (0 so far, 1 of the other)'
    for time_s, truth in ((26.0, True), (2.0, False), (4.0, False)):
        told = session.teach('stove_hot', truth, time_s=time_s, seconds=1.0)
    assert (told.true_presses, told.false_presses) == (2, 2)
    assert told.left_out is not None and told.low is not None and told.low <= told.left_out
    assert {name for name, _ in told.sensors} <= {'image', 'depth', 'infrared', 'audio'}
    after = line_of(session, 'stove_hot')
    assert after['replaced'] and after['truth'] == before['truth']
    assert after['series'][FUSED]['t'] != before['series'][FUSED]['t']
    assert all(word.startswith('taught (2 true, 2 false') for _, word in after['taught'])
    lessons = load_lessons(path)
    assert lessons is not None
    presses = lessons.by_name['stove_hot'].presses
    assert [press.frames for press in presses] == [1, 8, 8, 8]
    assert {press.source for press in presses} == {'demo_bag'}
    assert session.untaught('stove_hot').false_presses == 1
    since = session.updates(0)['sequence']
    while line_of(session, 'stove_hot')['taught'][-1][1]:
        session.untaught('stove_hot')
    assert [line['replaced'] for line in session.updates(since)['lines']] == [True]
    with pytest.raises(ValueError, match='no presses'):
        session.untaught('stove_hot')
    with pytest.raises(ValueError, match='choose a moment'):
        session.teach('stove_hot', True, time_s=None, seconds=0.0)
    with pytest.raises(ValueError, match='no sensor has valid evidence'):
        session.teach('stove_hot', True, time_s=-5.0, seconds=0.0)


def test_what_was_taught_is_there_when_the_bag_is_opened_again(
    binder: Binder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lb_ros.dashboard.recorded import load_bag

    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    bag, path = shipped('lb_ros/data/demo_bag'), tmp_path / 'x.taught.safetensors'
    first, second = (Session('demo', live=False) for _ in range(2))
    load_bag(first, bag, binder, [], taught=path)
    first.ask('the lid is on')
    for time_s, truth in ((3.0, False), (25.0, True)):
        first.teach('the lid is on', truth, time_s=time_s, seconds=0.0)
    load_bag(second, bag, binder, [], taught=path)
    assert line_of(second, 'the lid is on')['taught'][0][1].startswith('taught (1 true, 1 false')


def test_new_answers_replace_points_of_a_robot_but_not_its_truth(binder: Binder) -> None:
    session = filled(binder)
    since = session.updates(0)['sequence']
    drawer = Predicate('drawer', ('the drawer is open',), ('the drawer is closed',))
    session.answer_again(drawer, None)
    assert line_of(session, 'drawer')['series'][FUSED]['t'] == [
        float(second) for second in range(20) for _ in range(2)
    ]
    (line,) = session.updates(since)['lines']
    assert line['replaced'] and line['truth'] == []
    assert len(line_of(session, 'drawer')['truth']) == 4
    session.add_scores(START_NS + 20 * SECOND_NS, {FUSED: {'drawer': 0.25}})
    assert line_of(session, 'drawer')['series'][FUSED]['p'][-1] == 0.25
    since = session.updates(0)['sequence']
    session.add_scores(START_NS + 21 * SECOND_NS, {FUSED: {'drawer': 0.5}})
    assert not session.updates(since)['lines'][0]['replaced']


def test_a_folder_that_is_neither_bag_nor_index_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from lb_ros.cli import main

    assert main(['dashboard', str(tmp_path / 'nothing')]) == 2
    assert 'neither a bag nor an index' in capsys.readouterr().err
