"""Bags to language pairs, on drawn bags and on bags as they go wrong."""

from __future__ import annotations

import csv
import io
import json
import random
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from train.bags import read_bag
from train.cli import main
from train.pairs.balance import balanced, entries_of, words_of
from train.pairs.make import StreamedPairs, plan_pairs, stream_pairs
from train.pairs.options import PairOptions, PairsReport
from train.pairs.plan import Window
from train.pairs.record import Pair, Text, decode, encode
from train.pairs.shards import ShardError, open_pair_set, write_shards
from train.pairs.sidecar import SidecarError, read_sidecar
from train.pairs.views import Views, with_views
from train.phrasings import Phrasings

MOMENTS = [{'hot(stove)': index % 2 == 0, 'open(top drawer)': index < 6} for index in range(12)]
START_S = 1_700_000_000
TYPES = get_typestore(Stores.ROS2_JAZZY)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, 'argv', ['lb-ros', *map(str, arguments)])
    return main()


def pairs_of(bag: Path, **options: Any) -> tuple[list[Pair], PairsReport]:
    report = PairsReport()
    sidecar = options.pop('sidecar', ())
    plan = plan_pairs([bag], PairOptions(**options), report=report, sidecar=sidecar)
    return list(stream_pairs(plan, report=report)), report


def test_every_pair_says_what_its_window_shows(drawn: Any, tmp_path: Path) -> None:
    bag = drawn.write(tmp_path / 'bag', MOMENTS)
    pairs, report = pairs_of(bag, window_s=0.5)
    assert len(pairs) == report.pairs == 12
    phrasings = Phrasings.load('trained')
    for pair, truth in zip(pairs, MOMENTS, strict=True):
        assert pair.facts == truth
        assert pair.modalities == ('audio', 'depth', 'image', 'infrared')
        depth = decode('depth', pair.files)
        assert depth.dtype == np.uint16
        assert (depth[8:24, 4:14] == 600).all() == truth['open(top drawer)']
        assert (decode('infrared', pair.files).max() == 42_000) == truth['hot(stove)']
        wave, rate_hz = decode('audio', pair.files)
        assert (wave.shape, rate_hz) == ((1, 8000), 16_000)
        sentences = {
            sentence
            for name, holds in truth.items()
            for sentence in getattr(phrasings.sentences(name), 'positive' if holds else 'negative')
        }
        assert len(pair.texts) >= 2
        assert {text.text for text in pair.texts} <= sentences


@pytest.mark.parametrize('storage', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_shards_hold_what_streaming_gives(
    drawn: Any, tmp_path: Path, storage: StoragePlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    bags = tmp_path / 'bags'
    bags.mkdir()
    for seed in range(2):
        drawn.write(bags / f'bag{seed}', MOMENTS, seed=seed, storage=storage)
    out = tmp_path / 'pairs'
    command = ('train', 'pairs', '--data', bags, '--out', out, '--pairs-per-shard', '7')
    assert run(monkeypatch, *command) == 0
    stored = open_pair_set(out)
    report = PairsReport()
    paths = sorted(bags.iterdir())
    streamed = StreamedPairs(plan_pairs(paths, PairOptions(), report=report), report)
    assert len(stored) == len(streamed) == report.pairs == 24
    for index in (0, 11, 12, 23, 3):
        assert stored.read(index) == streamed.read(index)
    assert [s['pairs'] for s in stored.manifest['shards']] == [7, 7, 7, 3]
    assert stored.manifest['modalities'] == {
        'audio': 24, 'depth': 24, 'image': 24, 'infrared': 24
    }  # fmt: skip
    assert run(monkeypatch, *command) == 2  # never over an earlier set unasked
    assert run(monkeypatch, *command, '--overwrite') == 0
    again = open_pair_set(out)
    assert again.manifest['shards'] == stored.manifest['shards']


def test_shards_have_the_layout_of_webdataset(drawn: Any, tmp_path: Path) -> None:
    pairs, _ = pairs_of(drawn.write(tmp_path / 'my.bag', MOMENTS[:3]))
    write_shards(tmp_path / 'out', pairs, described={})
    with tarfile.open(tmp_path / 'out' / 'pairs-000000.tar') as tar:
        names = tar.getnames()
        keys = [name.split('.')[0] for name in names]
        assert keys == sorted(keys)  # files of a sample lie next to each other
        extensions = Counter(name.split('.', 1)[1] for name in names)
        record = tar.extractfile(next(n for n in names if n.endswith('.json')))
        assert record is not None
        described = json.load(record)
    kinds = {'image.jpg', 'depth.png', 'infrared.png', 'audio.wav', 'txt', 'json'}
    assert extensions == dict.fromkeys(kinds, 3)
    assert described['bag'] == 'my.bag'
    assert described['texts'][0].keys() == {'text', 'source', 'maker'}


def test_a_damaged_shard_is_named(drawn: Any, tmp_path: Path) -> None:
    pairs, _ = pairs_of(drawn.write(tmp_path / 'bag', MOMENTS[:3]))
    write_shards(tmp_path / 'out', pairs, described={})
    shard = tmp_path / 'out' / 'pairs-000000.tar'
    shard.write_bytes(shard.read_bytes()[:-600])
    with pytest.raises(ShardError, match=r'pairs-000000\.tar: .* bytes, expected'):
        open_pair_set(tmp_path / 'out')


# --- texts ---------------------------------------------------------------------------------------


def write_texts(
    path: Path,
    texts: dict[str, list[tuple[float, str]]],
    *,
    frames_s: list[float],
    log_offset_s: float = 0.0,
) -> Path:
    """A bag of pictures (numbered by their shade) and texts at times in seconds."""
    kind, string = 'sensor_msgs/msg/Image', 'std_msgs/msg/String'
    events = [(s, '/camera/image', s) for s in frames_s]
    events += [(s, topic, text) for topic, said in texts.items() for s, text in said]
    events.sort(key=lambda event: event[0] if texts else 0)
    with Writer(path, version=9) as writer:
        links = {t: writer.add_connection(t, string, typestore=TYPES) for t in texts}
        links['/camera/image'] = writer.add_connection('/camera/image', kind, typestore=TYPES)
        for order, (seconds, topic, value) in enumerate(events):
            log_ns = round((START_S + log_offset_s + seconds) * 1e9)
            if topic == '/camera/image':
                message, name = picture(seconds, shade=order), kind
            else:
                message, name = TYPES.types[string](data=value), string
            writer.write(links[topic], log_ns, TYPES.serialize_cdr(message, name))
    return path


def picture(seconds: float, *, shade: int = 0) -> Any:
    types = TYPES.types
    total = round((START_S + seconds) * 1e9)
    stamp = types['builtin_interfaces/msg/Time'](sec=total // 10**9, nanosec=total % 10**9)
    return types['sensor_msgs/msg/Image'](
        header=types['std_msgs/msg/Header'](stamp=stamp, frame_id='camera'),
        height=16,
        width=16,
        encoding='mono8',
        is_bigendian=0,
        step=16,
        data=np.full(256, shade % 256, np.uint8),
    )


def said(pairs: list[Pair]) -> list[set[tuple[str, str]]]:
    return [{(text.text, text.source) for text in pair.texts} for pair in pairs]


def test_annotations_hold_until_the_next_and_tasks_to_the_end(tmp_path: Path) -> None:
    texts = {
        '/task/text': [(0.0, 'tidy up')],
        '/annotations': [(1.0, 'reach'), (3.0, 'grasp'), (4.0, '')],
    }
    bag = write_texts(tmp_path / 'bag', texts, frames_s=[0.5 * k for k in range(13)])
    pairs, _ = pairs_of(bag, modalities=('image',), every_s=1.0, window_s=1.0)
    task = ('tidy up', 'task')
    reach, grasp = ('reach', 'annotation'), ('grasp', 'annotation')
    expected = [{task, reach}, {task, reach}, {task, grasp}, {task}, {task}, {task}]
    assert said(pairs) == expected


@pytest.mark.parametrize('suffix', ['csv', 'yaml', 'json'])
def test_a_sidecar_of_any_kind_gives_its_sentences(tmp_path: Path, suffix: str) -> None:
    rows = [
        {'start': 0.0, 'end': 2.4, 'text': 'the arm, at rest'},
        {'start': START_S + 3.0, 'end': START_S + 4.0, 'text': 'odd noise', 'kind': 'note'},
        {'start': 0, 'end': 9, 'text': 'another bag', 'bag': 'other'},
    ]
    path = tmp_path / f'notes.{suffix}'
    if suffix == 'csv':
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, ['start', 'end', 'text', 'bag', 'kind'])
        writer.writeheader()
        writer.writerows(rows)
        path.write_text(buffer.getvalue())
    else:
        path.write_text(json.dumps(rows) if suffix == 'json' else yaml.safe_dump(rows))
    bag = write_texts(tmp_path / 'bag', {}, frames_s=[0.5 * k for k in range(11)])
    options = {'modalities': ('image',), 'sidecar': read_sidecar(path)}
    pairs, report = pairs_of(bag, every_s=1.0, **options)
    assert said(pairs) == [{('the arm, at rest', 'sidecar')}] * 2 + [{('odd noise', 'note')}] * 2
    assert report.dropped['sidecar sentences of other bags'] == 1
    assert report.dropped['windows without a sentence'] == 1
    pairs, _ = pairs_of(bag, windows_at='texts', **options)
    ranges = [((p.start_ns - START_S * 10**9) / 1e9, (p.end_ns - START_S * 10**9) / 1e9)
              for p in pairs]  # fmt: skip
    assert ranges == [(0.0, 2.4), (3.0, 4.0)]


@pytest.mark.parametrize(
    ('content', 'says'),
    [
        ('start,end\n1,2\n', "row 1: no 'text'"),
        ('start,end,text\nnow,2,x\n', 'row 1: start and end must be seconds'),
        ('start,end,text\n3,2,x\n', r'row 1: ends at 2\.0 s before it starts'),
        ('start,end,text,mood\n1,2,x,y\n', "row 1: unknown key 'mood'"),
        ('start,end,text\n1,2, \n', 'row 1: the text is empty'),
    ],
)
def test_an_unusable_sidecar_row_is_named(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / 'notes.csv'
    path.write_text(content)
    with pytest.raises(SidecarError, match=says):
        read_sidecar(path)


class Flat:
    """A generator: the same depth everywhere."""

    source = 'image'

    def __call__(self, sample: Any) -> Any:
        return np.full(sample.shape[:2], 1500, np.uint16)


def test_views_add_sentences_and_marked_sensors(tmp_path: Path) -> None:
    bag = write_texts(tmp_path / 'bag', {'/task/text': [(0.0, 'Tidy up')]}, frames_s=[0, 1])
    (pair,), _ = pairs_of(bag, modalities=('image', 'depth'), every_s=1.0)
    views = Views(
        templates=('a robot that should {}',),
        paraphrases={'tidy up': ('clean the table',)},
        captioners={'shade': lambda samples: [f'a picture of shade {samples["image"].max()}']},
        refiners={'count': lambda texts: [f'{len(texts)} things were said']},
        generators={'depth': ('flat', Flat())},
    )
    rich = with_views(pair, views)
    assert [(t.text, t.source, t.maker) for t in rich.texts] == [
        ('Tidy up', 'task', ''),
        ('clean the table', 'paraphrase', ''),
        ('a robot that should Tidy up', 'template', ''),
        ('a picture of shade 2', 'caption', 'shade'),
        ('4 things were said', 'refined', 'count'),
    ]
    assert rich.generated == {'depth': 'flat'}
    assert (decode('depth', rich.files) == 1500).all()
    again = with_views(rich, views)  # measured or made before: not made again
    assert again.files == rich.files


def test_a_failing_view_costs_only_itself(tmp_path: Path) -> None:
    bag = write_texts(tmp_path / 'bag', {'/task/text': [(0.0, 'x')]}, frames_s=[0, 1, 2])

    def broken(samples: Any) -> list[str]:
        raise RuntimeError('no model')

    report = PairsReport()
    options = PairOptions(modalities=('image',))
    plan = plan_pairs([bag], options, report=report, views=Views(captioners={'b': broken}))
    assert len(list(stream_pairs(plan, report=report))) == 2
    assert report.dropped['views that failed'] == 2
    assert 'RuntimeError: no model' in report.problems[-1]


# --- balance -------------------------------------------------------------------------------------

WORDS = ('cup', 'drawer', 'red cup', 'stove')


@given(
    st.lists(st.lists(st.sampled_from(('cup', 'drawer', 'red', 'stove', 'x')), max_size=5)),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_balance_keeps_every_entry_up_to_its_share(
    sentences: list[list[str]], most: int, seed: int
) -> None:
    windows = [
        Window(0, 0, 1, 1, (Text(' '.join(words) or 'x', 'note'),), {}) for words in sentences
    ]
    kept, counts = balanced(windows, WORDS, most=most, seed=seed)
    phrases = [words_of(word) for word in WORDS]
    everywhere = Counter(e for window in windows for e in entries_of(window, phrases))
    assert counts == Counter(e for k in kept for e in entries_of(windows[k], phrases))
    for word in WORDS:
        assert counts[word] >= min(most, everywhere[word])
    assert all(entries_of(windows[k], phrases) for k in kept)
    assert len(kept) <= most * len(WORDS)


# --- what goes wrong -----------------------------------------------------------------------------


def test_a_jump_in_time_cuts_no_window_in_two(tmp_path: Path) -> None:
    frames = [10.0 + 0.5 * k for k in range(8)] + [2.0 + 0.5 * k for k in range(8)]
    path = tmp_path / 'bag'
    kind = 'sensor_msgs/msg/Image'
    with Writer(path, version=9) as writer:
        link = writer.add_connection('/camera/image', kind, typestore=TYPES)
        for order, seconds in enumerate(frames):
            raw = TYPES.serialize_cdr(picture(seconds, shade=order), kind)
            writer.write(link, round((START_S + 0.5 * order) * 1e9), raw)
    sidecar_path = tmp_path / 'all.csv'
    sidecar_path.write_text(f'start,end,text\n{START_S},{START_S + 100},running\n')
    pairs, report = pairs_of(
        path, modalities=('image',), every_s=1.0, window_s=2.0, sidecar=read_sidecar(sidecar_path)
    )
    shades = [int(decode('image', pair.files).max()) for pair in pairs]
    assert shades == [2, 4, 6, 10, 12, 14]
    assert report.jumps == 1
    assert report.clipped == 2  # the first window of each segment is longer than what came before
    assert any('time jumps by -11.5 s' in line for line in report.problems)


def test_texts_without_a_stamp_follow_the_clock_of_the_sensors(tmp_path: Path) -> None:
    """A simulator stamps its pictures with its own time; texts have the recorder's."""
    texts = {'/annotations': [(1.0, 'reach'), (3.0, 'grasp')]}
    frames = [0.5 * k for k in range(9)]
    bag = write_texts(tmp_path / 'bag', texts, frames_s=frames, log_offset_s=86_400.0)
    pairs, _ = pairs_of(bag, modalities=('image',), every_s=1.0)
    assert [{text for text, _ in window} for window in said(pairs)] == [
        {'reach'}, {'reach'}, {'grasp'}, {'grasp'}
    ]  # fmt: skip


def test_bags_that_go_wrong_are_reported_and_never_fatal(
    drawn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bags = tmp_path / 'bags'
    bags.mkdir()
    drawn.write(bags / 'good', MOMENTS)
    drawn.write(bags / 'blind', MOMENTS, skip=('/depth/image',))
    drawn.write(bags / 'silent', MOMENTS, skip=('/ground_truth/predicates',))
    cut = drawn.write(tmp_path / 'whole', MOMENTS)
    file = next(cut.glob('*.mcap'))
    (bags / 'cut.mcap').write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (bags / 'noise.mcap').write_bytes(random.Random(0).randbytes(3000))
    (bags / 'noise.db3').write_bytes(random.Random(1).randbytes(3000))
    with (bags / 'imu.mcap').open('wb') as stream:
        writer = McapWriter(stream)
        writer.start(profile='ros2')
        schema = writer.register_schema('maker_msgs/msg/Imu', 'ros2msg', b'')
        channel = writer.register_channel('/imu', 'cdr', schema)
        writer.add_message(channel, log_time=5, data=b'\0\1\0\0\1', publish_time=5)
        writer.finish()
    out = tmp_path / 'pairs'
    command = ['train', 'pairs', '--data', bags, '--out', out, '--modalities', 'depth', 'audio']
    assert run(monkeypatch, *command, '--json') == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report == open_pair_set(out).manifest['report']
    assert report['pairs'] == sum(report['samples'].values()) - report['samples']['depth'] >= 24
    assert report['dropped']['windows without depth'] >= 12
    assert report['bags_used'] + report['bags_skipped'] == 7
    assert report['bags_used'] in (2, 3)  # of a bag of one chunk the cut leaves nothing
    for name in ('silent', 'cut.mcap', 'noise.mcap', 'noise.db3', 'imu.mcap'):
        assert any(name in line for line in report['problems']), name
    assert 'silent: nothing is said in it; the bag is skipped' in printed.err


def test_bags_kept_for_evaluation_need_a_word(
    drawn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = drawn.write(tmp_path / 'bag', MOMENTS[:2], marks={'split': 'evaluation'})
    command = ['train', 'pairs', '--data', bag, '--out', tmp_path / 'pairs']
    assert run(monkeypatch, *command) == 2
    assert run(monkeypatch, *command, '--evaluation') == 0
    assert open_pair_set(tmp_path / 'pairs').manifest['split'] == 'evaluation'


@pytest.mark.parametrize('mode', [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_bags_of_humble_are_read(tmp_path: Path, mode: CompressionMode) -> None:
    string = 'std_msgs/msg/String'
    writer = Writer(tmp_path / 'bag', version=8, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        link = writer.add_connection('/task/text', string, typestore=TYPES)
        for index in range(5):
            message = TYPES.types[string](data=f'message {index}')
            writer.write(link, index + 1, TYPES.serialize_cdr(message, string))
    found = [m.message.data for m in read_bag(tmp_path / 'bag')]
    assert found == [f'message {index}' for index in range(5)]


def test_types_from_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Humble embeds no types in a database: a folder says what a message of one's own is."""
    (tmp_path / 'types' / 'my_msgs' / 'msg').mkdir(parents=True)
    (tmp_path / 'types' / 'my_msgs' / 'msg' / 'Note.msg').write_text('string text\n')
    bag = write_texts(tmp_path / 'bag', {'/task/text': [(0.0, 'x')]}, frames_s=[0, 1])
    own = tmp_path / 'own.mcap'
    with own.open('wb') as stream:
        writer = McapWriter(stream)
        writer.start(profile='ros2')
        note = writer.register_schema('my_msgs/msg/Note', 'ros2msg', b'')
        image = writer.register_schema('sensor_msgs/msg/Image', 'ros2msg', b'')
        notes = writer.register_channel('/operator/notes', 'cdr', note)
        images = writer.register_channel('/camera/image', 'cdr', image)
        text = b'looks odd\0'
        data = b'\0\1\0\0' + len(text).to_bytes(4, 'little') + text
        writer.add_message(notes, log_time=START_S * 10**9, data=data, publish_time=0)
        for message in read_bag(bag, topics=['camera/image']):
            raw = message.raw
            writer.add_message(images, log_time=message.log_ns, data=raw, publish_time=0)
        writer.finish()
    pairs, report = pairs_of(own, modalities=('image',))
    assert pairs == []
    assert report.dropped['undecodable messages on operator/notes'] == 1
    pairs, _ = pairs_of(own, modalities=('image',), types_folder=tmp_path / 'types')
    assert said(pairs) == [{('looks odd', 'note')}]


# --- files ---------------------------------------------------------------------------------------


def test_samples_come_back_from_their_files() -> None:
    rng = np.random.default_rng(0)
    planes = {
        'depth': rng.integers(0, 65_535, (7, 9)).astype(np.uint16),
        'infrared': rng.integers(0, 65_535, (7, 9)).astype(np.uint16),
    }
    for name, plane in planes.items():
        np.testing.assert_array_equal(decode(name, encode(name, plane)), plane)
    metres = np.array([[1.2344, np.nan], [np.inf, 0.0]], np.float32)
    np.testing.assert_array_equal(decode('depth', encode('depth', metres)), [[1234, 0], [0, 0]])
    wave = rng.integers(-32_768, 32_767, (2, 100)).astype(np.int16)
    found, rate_hz = decode('audio', encode('audio', (wave, 44_100)))
    np.testing.assert_array_equal(found, wave)
    assert rate_hz == 44_100
    smooth = cv2.resize(rng.integers(0, 255, (4, 4, 3)).astype(np.uint8), (64, 64))
    clip = np.stack([smooth, smooth[::-1]])
    assert np.abs(decode('video', encode('video', clip)).astype(int) - clip).mean() < 3
