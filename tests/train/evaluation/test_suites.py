"""The evaluation suites on small copies of their layouts, and the measures themselves."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders import Binder
from train.cli import main
from train.evaluation.metrics import (
    bootstrap,
    confusion,
    expected_calibration_error,
    first_ranks,
    retrieval,
    top1,
)
from train.evaluation.suite_data import (
    SuiteError,
    find_cases,
    load_suite,
    load_templates,
    read_case,
)
from train.evaluation.suites import classifier, run_suite
from train.pairs.record import encode

RNG = np.random.default_rng(0)


@pytest.fixture(scope='module')
def binder(tiny_checkpoints: dict[str, str]) -> Binder:
    return Binder.load(tiny_checkpoints)


def write_picture(path: Path, array: np.ndarray) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = cv2.cvtColor(array, cv2.COLOR_RGB2BGR) if array.ndim == 3 else array
    assert cv2.imwrite(str(path), bgr)
    return array


def write_sound(path: Path, *, rate_hz: int = 44_100) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = RNG.integers(-9000, 9000, (1, rate_hz // 2)).astype(np.int16)
    path.write_bytes(encode('audio', (wave, rate_hz))['audio.wav'])
    return wave


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='') as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def depth_mm() -> np.ndarray:
    return RNG.integers(500, 9000, (40, 50)).astype(np.uint16)


def colours() -> np.ndarray:
    return RNG.integers(0, 255, (40, 50, 3)).astype(np.uint8)


def test_nyu_with_and_without_colour(tmp_path: Path, binder: Binder) -> None:
    suite = load_suite('nyu-d')
    samples, labels = [], []
    for label in (0, 2, 9):
        folder = suite.classes[label].replace(' ', '_')
        for number in range(3):
            samples.append(write_picture(tmp_path / folder / f'{number}.png', depth_mm()))
            labels.append(label)
    result = run_suite('nyu-d', tmp_path, binder)
    texts = classifier(binder, suite.classes, load_templates(suite))
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1.0, atol=1e-6)
    scores = binder.embed(depth=samples)['depth'] @ texts.T
    assert result.top1['depth'].value == (scores.argmax(1) == labels).mean()
    assert (result.cases, result.chance) == (9, pytest.approx(1 / 3))
    assert np.sum(result.confusion['depth']) == 9
    both = tmp_path / 'both'
    for place, make in (('depth', depth_mm), ('rgb', colours)):
        for number in range(4):
            write_picture(both / place / suite.classes[number] / f'{number}.png', make())
    fused = run_suite('nyu-d', both, binder)
    assert list(fused.top1) == ['depth', 'image', 'depth+image']


def test_llvip_as_crops_and_as_released(tmp_path: Path, binder: Binder) -> None:
    crops = tmp_path / 'crops'
    for name in ('background', 'people'):
        write_picture(crops / name / 'a.jpg', colours())
    assert run_suite('llvip', crops, binder).cases == 2
    released = tmp_path / 'released'
    scene = RNG.integers(0, 255, (200, 300)).astype(np.uint8)
    for place in ('infrared', 'visible'):
        write_picture(released / place / 'test' / '01.png', scene)
    (released / 'Annotations').mkdir()
    (released / 'Annotations' / '01.xml').write_text(
        '<annotation><size><width>300</width><height>200</height></size>'
        '<object><name>person</name><bndbox><xmin>10</xmin><ymin>20</ymin><xmax>40</xmax>'
        '<ymax>90</ymax></bndbox></object></annotation>'
    )
    suite = load_suite('llvip')
    cases = find_cases(suite, released)
    assert [suite.classes[case.label] for case in cases] == ['people', 'background']
    np.testing.assert_array_equal(read_case(cases[0], 'infrared'), scene[20:90, 10:40])
    left, top, right, bottom = cases[1].box or (0, 0, 0, 0)
    assert (right - left, bottom - top) == (30, 70)
    assert right <= 10 or left >= 40 or bottom <= 20 or top >= 90
    assert find_cases(suite, released) == cases
    assert list(run_suite('llvip', released, binder).top1) == [
        'infrared', 'image', 'infrared+image'
    ]  # fmt: skip


def test_esc50_from_the_command_line(
    tmp_path: Path, tiny_checkpoints: dict[str, str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    names = ('dog', 'sea_waves', 'hand_saw')
    rows = [{'filename': f'{name}.wav', 'fold': 1, 'category': name} for name in names]
    for row in rows:
        write_sound(tmp_path / 'audio' / str(row['filename']))
    rows.append({'filename': 'lost.wav', 'fold': 1, 'category': 'dog'})
    write_csv(tmp_path / 'meta' / 'esc50.csv', rows)
    command = ['eval', '--suite', 'esc50', '--data', str(tmp_path), '--json']
    command += ['--model', f'audio={tiny_checkpoints["audio"]}']
    monkeypatch.setattr(sys, 'argv', ['lb-ros', *command, '--report', str(tmp_path / 'r.json')])
    assert main() == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found == json.loads((tmp_path / 'r.json').read_text())
    assert found['cases'] == 3
    assert found['top1']['audio']['count'] == 3
    assert 'lost.wav' in found['problems'][0]
    assert 'left out' in printed.err
    depth_only = [*command[:-1], f'depth={tiny_checkpoints["depth"]}']
    monkeypatch.setattr(sys, 'argv', ['lb-ros', *depth_only])
    assert main() == 2
    assert 'needs an encoder for audio' in capsys.readouterr().err


def test_clotho_has_five_right_captions_a_sound(tmp_path: Path, binder: Binder) -> None:
    rows = []
    for number in range(12):
        write_sound(tmp_path / 'evaluation' / f'{number}.wav')
        captions = {f'caption_{k}': f'sound {number} said {k} times' for k in range(1, 6)}
        rows.append({'file_name': f'{number}.wav', **captions})
    write_csv(tmp_path / 'clotho_captions_evaluation.csv', rows)
    tables = run_suite('clotho', tmp_path, binder).retrieval
    there, back = tables['text -> audio'], tables['audio -> text']
    assert (there.candidates, back.candidates) == (12, 60)
    assert (there.recall[1].count, back.recall[1].count) == (60, 12)
    assert there.chance == back.chance == pytest.approx(1 / 12)
    assert there.recall[1].value <= there.recall[5].value <= there.recall[10].value <= 1


def test_msrvtt_reads_videos(tmp_path: Path, binder: Binder) -> None:
    rows = []
    for number in range(3):
        path = tmp_path / 'videos' / f'video{number}.avi'
        path.parent.mkdir(exist_ok=True)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 10, (64, 48))
        for frame in range(12):
            writer.write(np.full((48, 64, 3), 20 * frame, np.uint8))
        writer.release()
        rows.append({'key': number, 'video_id': f'video{number}', 'sentence': f'clip {number}'})
    write_csv(tmp_path / 'MSRVTT_JSFUSION_test.csv', rows)
    (case, *_) = find_cases(load_suite('msrvtt'), tmp_path)
    clip = read_case(case, 'video')
    assert clip.shape == (8, 48, 64, 3)
    assert np.abs(clip.mean(axis=(1, 2, 3)) - 20 * np.linspace(0, 11, 8).astype(int)).max() < 4
    assert run_suite('msrvtt', tmp_path, binder).retrieval['text -> video'].candidates == 3


def test_pairs_are_measured_in_all_directions(
    tmp_path: Path, pair_folder: Path, tiny_checkpoints: dict[str, str],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    sensors = ('image', 'depth', 'infrared')
    model = ','.join(f'{name}={tiny_checkpoints[name]}' for name in sensors)
    command = ['eval', '--data', str(pair_folder), '--model', model, '--json']
    monkeypatch.setattr(sys, 'argv', ['lb-ros', *command])
    assert main() == 0
    tables = json.loads(capsys.readouterr().out)['retrieval']
    for name in (*sensors, 'depth+image'):
        assert {f'{name} -> text', f'text -> {name}'} <= tables.keys()
    assert tables['depth -> infrared']['candidates'] == 48
    assert tables['depth -> infrared']['chance'] == pytest.approx(1 / 48)


@pytest.mark.parametrize(
    ('suite', 'says'),
    [
        ('nyu-d', 'no folders named by the classes of nyu-d'),
        ('esc50', r'meta/esc50\.csv'),
        ('clotho', 'no folder evaluation'),
        ('msrvtt', r'MSRVTT_JSFUSION_test\.csv'),
    ],
)
def test_another_layout_is_named(tmp_path: Path, suite: str, says: str) -> None:
    with pytest.raises(SuiteError, match=says):
        find_cases(load_suite(suite), tmp_path)


def test_an_unknown_class_is_named(tmp_path: Path) -> None:
    for name in ('kitchen', 'spaceship'):
        write_picture(tmp_path / name / 'a.png', depth_mm())
    with pytest.raises(SuiteError, match="unknown class 'spaceship'"):
        find_cases(load_suite('nyu-d'), tmp_path)


def test_templates_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / 'mine.yaml'
    path.write_text('sound: ["the noise of {}"]\n')
    assert load_templates(load_suite('esc50'), path) == ('the noise of {}',)
    path.write_text('sound: ["no slot"]\n')
    with pytest.raises(SuiteError, match=r'one \{\} each'):
        load_templates(load_suite('esc50'), path)
    assert len(load_templates(load_suite('llvip'))) == 80
    assert all('depth photo' in t or 'photo' not in t
               for t in load_templates(load_suite('nyu-d')))  # fmt: skip


# --- measures ------------------------------------------------------------------------------------


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 1000))
def test_ranks_are_those_of_a_sorted_list(queries: int, candidates: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    similarity = rng.permutation(queries * candidates).reshape(queries, candidates).astype(float)
    relevant = rng.random((queries, candidates)) < 0.4
    relevant[:, rng.integers(candidates)] = True
    expected = [
        1 + min(list(np.argsort(-row)).index(c) for c in np.flatnonzero(right))
        - sum(row[c] > row[right].max() and right[c] for c in range(candidates))
        for row, right in zip(similarity, relevant, strict=True)
    ]  # fmt: skip
    assert first_ranks(similarity, relevant).tolist() == expected


@settings(max_examples=10)  # each draws a thousand bootstrap samples
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 1000))
def test_recall_and_median_follow_from_ranks(queries: int, candidates: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    similarity = rng.permutation(queries * candidates).reshape(queries, candidates).astype(float)
    relevant = rng.random((queries, candidates)) < 0.4
    relevant[:, rng.integers(candidates)] = True
    ranks, found = first_ranks(similarity, relevant), retrieval(similarity, relevant)
    assert found.recall[1].value == np.mean(ranks <= 1)
    assert found.median_rank.value == np.median(ranks)
    assert found.recall[1].value <= found.recall[5].value <= found.recall[10].value


def test_equal_scores_are_no_success() -> None:
    same = np.zeros((1, 11))
    relevant = np.eye(1, 11, dtype=bool)
    assert first_ranks(same, relevant).tolist() == [6]


def test_intervals_hold_the_value_and_narrow_with_more_cases() -> None:
    few, many = (bootstrap(np.arange(n) % 2, np.mean) for n in (20, 2000))
    for found in (few, many):
        assert found.low <= found.value == 0.5 <= found.high
    assert many.high - many.low < 0.2 * (few.high - few.low)


def test_calibration_error_of_known_cases() -> None:
    truth = np.array([True, False] * 50)
    assert expected_calibration_error(np.full(100, 0.5), truth) == pytest.approx(0.0)
    assert expected_calibration_error(np.full(100, 0.9), truth) == pytest.approx(0.4)
    assert expected_calibration_error(truth.astype(float), truth) == 0.0


def test_top1_and_confusion_agree() -> None:
    rng = np.random.default_rng(1)
    scores, labels = rng.random((50, 4)), rng.integers(0, 4, 50)
    table = confusion(scores, labels)
    assert table.sum() == 50
    assert top1(scores, labels).value == np.trace(table) / 50
