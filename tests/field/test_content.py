"""What drivers really send: read rightly where only one reading is left, else never counted."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from encoders.decode import DecodeError
from encoders.decode.streams import Window, stream_of
from encoders.decode.temperature import Objection
from encoders.preprocess import objection
from encoders.preprocess.mini import depth, image, infrared
from tests.field.bags import START_NS, STEP_NS, Sent, good, write
from tests.field.cases import check_refused, check_usable, run
from tests.field.messages import GOOD, NO_EVIDENCE, REPAIRED, UNREADABLE, Odd

CONFIGS = {
    'image': image.ImageConfig(),
    'depth': depth.DepthConfig(),
    'infrared': infrared.InfraredConfig(),
}
TOPICS = {'image': 'camera/image', 'depth': 'depth/image', 'infrared': 'infrared/image',
          'audio': 'microphone/audio'}  # fmt: skip


def read(odd: Odd) -> Window:
    stream = stream_of(odd.modality)
    return stream.window(stream.add(odd.make(START_NS), stamp_ns=START_NS))


def objected(odd: Odd, window: Window) -> Objection | None:
    config = CONFIGS.get(odd.modality)
    return None if config is None else objection(window.raw, config)


def values(odd: Odd, window: Window) -> np.ndarray:
    return window.raw[0][0] if odd.modality == 'audio' else window.raw


@pytest.mark.parametrize('odd', REPAIRED, ids=lambda odd: odd.name)
def test_what_has_one_reading_is_read_so_and_noted(odd: Odd) -> None:
    window = read(odd)
    assert window.fault is not None
    assert window.fault[0] == 'repaired'
    assert re.search(odd.says, window.fault[1])
    found = values(odd, window)
    np.testing.assert_allclose(found.astype(float), odd.right[: len(found)], atol=odd.within)
    assert len(found) > 0.9 * len(odd.right)
    assert objected(odd, window) is None


@pytest.mark.parametrize('odd', GOOD, ids=lambda odd: odd.name)
def test_what_is_right_stays_as_it_is(odd: Odd) -> None:
    window = read(odd)
    assert window.fault is None
    assert objected(odd, window) is None
    if odd.right is not None:
        found = values(odd, window).astype(float)
        assert np.abs(found[2:-2] - odd.right[2 : len(found) - 2]).mean() <= odd.within


@pytest.mark.parametrize('odd', NO_EVIDENCE, ids=lambda odd: odd.name)
def test_what_may_mean_anything_does_not_count(odd: Odd) -> None:
    found = objected(odd, read(odd))
    assert found is not None
    assert re.search(odd.says, found.line)


@pytest.mark.parametrize('odd', UNREADABLE, ids=lambda odd: odd.name)
def test_what_cannot_be_read_is_named(odd: Odd) -> None:
    with pytest.raises(DecodeError, match=odd.says):
        read(odd)


def test_the_middle_of_an_encoded_file_is_no_sound() -> None:
    """Its bytes look like samples; what comes after a pause may be the samples of a new start."""
    stream = stream_of('audio')
    flac, sound = UNREADABLE[1].make, GOOD[-1].make
    for make, at_ns in ((flac, 0), (sound, 10**8), (sound, 2 * 10**8)):
        cut = stream.add(make(START_NS + at_ns), stamp_ns=START_NS + at_ns)
        with pytest.raises(DecodeError, match='expected wave'):
            stream.window(cut)
    later_ns = START_NS + 3 * 10**9
    assert stream.window(stream.add(sound(later_ns), stamp_ns=later_ns)).raw[0].size


@pytest.mark.parametrize('command', ['score', 'pairs'])
@pytest.mark.parametrize('odd', REPAIRED + NO_EVIDENCE + UNREADABLE, ids=lambda odd: odd.name)
def test_commands_report_it_in_one_line(
    odd: Odd, command: str, tmp_path: Path, tiny_model_set: Path, two_predicates: Path
) -> None:
    """A flood of the same fault is one line, which counts it."""
    topic = TOPICS[odd.modality]
    form = {'depth': 'compressedDepth'}.get(odd.modality, 'compressed')
    topic += f'/{form}' if 'Compressed' in type(odd.make(0)).__name__ else ''
    sent = [one for one in good(6) if one.topic == 'ground_truth/predicates']
    times = [START_NS + k * STEP_NS for k in range(6)]
    sent += [Sent(topic, ns, odd.make(ns)) for ns in times]
    bag = write(tmp_path / 'bag', sorted(sent, key=lambda one: one.log_ns))
    if command == 'score':
        ran = run('score', bag, '--model', tiny_model_set, '--predicates', two_predicates,
                  '-o', tmp_path / 'out', '--no-timeline', '--modality', odd.modality,
                  '--precision', 'fp32', '--threads', '1')  # fmt: skip
    else:
        ran = run('train', 'pairs', '--data', bag, '--out', tmp_path / 'out',
                  '--modalities', odd.modality, '--window', '0.4')  # fmt: skip
    if odd in UNREADABLE:
        check_refused(ran, odd.says, written=tmp_path / 'out')
    elif odd in NO_EVIDENCE and command == 'pairs':
        assert 'Traceback' not in ran.err
        assert odd.modality == 'infrared' or ran.status == 1
    else:
        check_usable(ran, odd.says)
