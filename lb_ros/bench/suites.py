"""The suites of `lb-ros bench`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from encoders import Binder, Predicate, PredicateBank
from encoders.decode.audio_window import WINDOW_S, AudioWindow, Window
from encoders.decode.streams import evenly
from encoders.model_sets.calibration import Calibration
from encoders.model_sets.encoder import Encoder
from encoders.model_sets.sources import parse_source
from encoders.predicates.scoring import Evaluation, Scoring
from encoders.preprocess import preprocess, preprocess_picture
from encoders.preprocess.columns import ColumnStore
from encoders.preprocess.frames import FrameStore
from encoders.preprocess.languagebind.video import VideoConfig
from encoders.vision.readout import Readout
from lb_ros.bench.arguments import RANDOM
from lb_ros.bench.engine import engine
from lb_ros.bench.measure import Measurement, measure
from lb_ros.bench.memory import memory
from lb_ros.bench.subjects import LARGE, open_encoders

FACTS = 400
PREDICATES = (10, 100, 1000, 10_000)
SENSORS = ('image', 'depth', 'audio')
SOUND_HZ = 16_000
CLIP_PICTURES = 29  # two seconds at 14 Hz; every fourth image is one of eight frames


def preprocessing(model: str, precision: str, repeats: int) -> list[Measurement]:
    """Measure preprocessing of one sample of every modality, on one thread.

    For audio also the window of a node, which moves by 100 ms in every run: alone, and with the
    spectrogram frames that it shares with the previous window. For video a clip of eight images
    of 1280x720 that ends with a new image: alone, and with the other seven already preprocessed.
    """
    rng = np.random.default_rng(0)
    raw: dict[str, Any] = {
        'image': rng.integers(0, 255, (720, 1280, 3), dtype=np.uint8),
        'depth': rng.integers(300, 9000, (720, 1280), dtype=np.uint16),
        'infrared': rng.integers(0, 255, (480, 848), dtype=np.uint8),
        'audio': (rng.normal(0, 0.1, 160_000).astype(np.float32), 16_000),
    }
    encoders, _ = open_encoders(model, torch.float32)
    cases: dict[str, Callable[[], object]]
    cases = {m: partial(encoders[m].preprocess, raw[m]) for m in encoders if m in raw}
    if 'audio' in encoders:
        cases |= {
            'audio window, alone': _Heard(encoders['audio'], rng, keeps=False).run,
            'audio window, kept columns': _Heard(encoders['audio'], rng, keeps=True).run,
        }
    if model.startswith(RANDOM) or 'video' in encoders:
        config: Any = encoders['video'].config if 'video' in encoders else VideoConfig()
        cases |= {
            'video, alone': _Filmed(config, raw['image'], keeps=False).run,
            'video, kept pictures': _Filmed(config, raw['image'], keeps=True).run,
        }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return measure('preprocessing', cases, repeats=repeats, facts={'threads': 1})
    finally:
        torch.set_num_threads(threads)


class _Heard:
    """A stream of audio whose window is preprocessed after every chunk."""

    def __init__(self, encoder: Encoder, rng: np.random.Generator, *, keeps: bool) -> None:
        self._encoder, self._columns, self._keeps = encoder, ColumnStore(), keeps
        self._window, self._start_ns = AudioWindow(WINDOW_S), 0
        self._chunk = rng.normal(0, 3000, (1, SOUND_HZ // 10)).astype(np.int16)
        for _ in range(round(10 * WINDOW_S)):
            self._hear()

    def _hear(self) -> Window:
        start_ns, self._start_ns = self._start_ns, self._start_ns + 100_000_000
        return self._window.add(self._chunk, rate_hz=SOUND_HZ, start_ns=start_ns)

    def run(self) -> object:
        """Preprocess one window."""
        window = self._hear()
        columns = self._columns.until(window.end) if self._keeps else None
        return self._encoder.preprocess((window.wave, SOUND_HZ), columns=columns)


class _Filmed:
    """A camera at 14 Hz whose clip of two seconds is preprocessed after every image."""

    def __init__(self, config: VideoConfig, picture: NDArray[np.uint8], *, keeps: bool) -> None:
        self._config, self._picture, self._keeps = config, picture, keeps
        self._clip, self._frames, self._now = np.stack([picture] * config.frames), FrameStore(), 0
        for _ in range(CLIP_PICTURES):
            self.run()

    def run(self) -> object:
        """Preprocess one clip."""
        if not self._keeps:
            return preprocess(self._clip, self._config)
        self._now += 1
        stamps = range(max(0, self._now - CLIP_PICTURES), self._now)
        self._frames.keep(stamps, what=self._config)
        self._frames.add(stamps[-1], preprocess_picture(self._picture, self._config))
        return self._frames.clip([stamps[i] for i in evenly(stamps, self._config.frames)])


def text(model: str, precision: str, repeats: int) -> list[Measurement]:
    """Measure embedding of one and sixteen new sentences, and of one that is cached."""
    if model.startswith(RANDOM):
        return []
    binder = Binder.load(parse_source(model))
    count = iter(range(1_000_000))

    def new(number: int) -> list[str]:
        return [f'drawer number {next(count)} is open' for _ in range(number)]

    cases = {
        '1 new sentence': lambda: binder.embed_text(new(1)),
        '16 new sentences': lambda: binder.embed_text(new(16)),
        '1 known sentence': lambda: binder.embed_text(['the drawer is open']),
    }
    return measure('text', cases, repeats=repeats)


def scoring(model: str, precision: str, repeats: int) -> list[Measurement]:
    """Measure scores and states of 10 to 10,000 predicates after new embeddings of three sensors.

    Vectors are random, with the dimensions of the model. Messages are measured separately, because
    nodes create them only for subscribers; they need ROS.
    """
    size = LARGE.projection
    if not model.startswith(RANDOM):
        size = Binder.load(parse_source(model)).embed_text(['a sentence']).shape[1]
    cases: dict[str, Callable[[], object]] = {}
    messages: dict[str, Callable[[], object]] = {}
    for count in PREDICATES:
        predicates = [Predicate(f'p{i}', (f'p{i}',), (f'not p{i}',)) for i in range(count)]
        bank = PredicateBank(predicates, RandomSentences(size))  # type: ignore[arg-type]
        for what, sensors in (('one new embedding', SENSORS[:1]), ('three new', SENSORS)):
            cases[f'{count} predicates, {what}'] = _Scored(bank, sensors, size=size).run
        messages |= _messages(bank, count, size=size)
    facts = {'dimensions': size}
    found = measure('scoring', cases, repeats=repeats, facts=facts)
    return found + measure('scoring', messages, repeats=repeats, facts=facts)


class _Scored:
    """Scoring with new evidence, 20 ms later, in every run."""

    def __init__(self, bank: PredicateBank, sensors: Sequence[str], *, size: int) -> None:
        rng = np.random.default_rng(0)
        self._scoring, self._sensors, self._now_ns = Scoring(bank), sensors, 10**18
        self._vectors = {m: _unit(rng, 16, size=size) for m in SENSORS}
        for modality in SENSORS:
            self._receive(modality)

    def _receive(self, modality: str) -> None:
        rows = self._vectors[modality]
        vector = rows[self._now_ns // 20_000_000 % len(rows)]
        self._scoring.receive(modality, vector, stamp_ns=self._now_ns, space='random')

    def run(self) -> Evaluation:
        """Run one evaluation."""
        self._now_ns += 20_000_000
        for modality in self._sensors:
            self._receive(modality)
        return self._scoring.evaluate(self._now_ns)


def _messages(bank: PredicateBank, count: int, *, size: int) -> dict[str, Callable[[], object]]:
    try:
        from rclpy.serialization import serialize_message

        from lb_ros.ros.messages import scores_message
    except ModuleNotFoundError:
        return {}
    scored = _Scored(bank, SENSORS, size=size)
    evaluation = scored.run()

    def build() -> object:
        # Scores from which nothing has been derived yet, as in a node.
        fresh = replace(evaluation, scores=replace(evaluation.scores, _probabilities={}))
        return scores_message(fresh, now_ns=evaluation.newest_ns, score_ms=0.0)

    built = build()
    return {
        f'{count} predicates, message built': build,
        f'{count} predicates, message serialised': lambda: serialize_message(built),
    }


class RandomSentences:
    """Stands in for a binder with random text vectors, which do not affect the time of scoring.

    It is calibrated with as many facts as `lb-mini`, so that contrasts are smoothed as there.
    """

    space, model, modalities = 'random', 'random', SENSORS
    readouts: Mapping[str, Readout] = {}

    def __init__(self, size: int) -> None:
        self._rng, self._size = np.random.default_rng(1), size
        ones = np.ones((FACTS, len(SENSORS)), np.float32)
        self.calibration = Calibration(
            space=self.space,
            names=tuple(f'fact {index}' for index in range(FACTS)),
            modalities=SENSORS,
            contrasts=_unit(self._rng, FACTS, size=size),
            slopes=ones,
            offsets=np.zeros_like(ones),
            weights=ones,
            positives=_unit(self._rng, FACTS, size=size),
            negatives=_unit(self._rng, FACTS, size=size),
        )

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return vectors, float32 `[N, D]`, unit length."""
        return _unit(self._rng, len(texts), size=self._size)

    def unread(self, text: str) -> int:
        """Return 0: no sentence is truncated."""
        return 0


Suite = Callable[[str, str, int], list[Measurement]]


def _live(name: str) -> Suite:
    """Make a suite over DDS; without ROS it measures nothing and prints a message."""

    def run(model: str, precision: str, repeats: int) -> list[Measurement]:
        if importlib.util.find_spec('rclpy') is None or model.startswith(RANDOM):
            print(f'{name}: left out, needs ROS 2 and a model set', file=sys.stderr)
            return []
        suite: Suite = getattr(importlib.import_module('lb_ros.bench.live'), name)
        return suite(model, precision, repeats)

    return run


SUITES: dict[str, Suite] = {
    'engine': engine,
    'memory': memory,
    'preprocessing': preprocessing,
    'text': text,
    'scoring': scoring,
    'messages': _live('messages'),
    'end_to_end': _live('end_to_end'),
    'idle': _live('idle'),
}


def unit_rows(count: int, *, size: int) -> NDArray[np.float32]:
    """Return random unit vectors, float32 `[count, size]`."""
    return _unit(np.random.default_rng(0), count, size=size)


def _unit(rng: np.random.Generator, count: int, *, size: int) -> NDArray[np.float32]:
    rows = rng.normal(size=(count, size))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
