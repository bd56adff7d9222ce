"""A session from a recorded bag; its embeddings are cached for the next time."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from encoders import Binder, Predicate, State
from encoders.predicates.fusion import caveats
from lb_ros.dashboard.session import FUSED, Session
from lb_ros.dashboard.why import Explainer

if TYPE_CHECKING:
    from encoders.model_sets.evidence import Evidence
    from train.score.embed import BagSource, Embeddings
    from train.score.track import Scored


MAX_SAMPLES = 32  # that are encoded again to explain scores


def cache_folder() -> Path:
    """Folder of the cached embeddings of opened bags."""
    base = os.environ.get('XDG_CACHE_HOME') or str(Path.home() / '.cache')
    return Path(base) / 'lb_ros' / 'dashboard'


def load_bag(
    session: Session,
    bag: Path,
    binder: Binder,
    predicates: list[Predicate],
    *,
    topic_words: tuple[str, ...] = (),
) -> None:
    """Score a bag into a session.

    Args:
        session: Session to fill; its message shows the progress.
        bag: Bag folder or file.
        binder: The encoders.
        predicates: Predicates to score.
        topic_words: `modality=/topic`, for topics without their usual names.

    Raises:
        FileNotFoundError: The bag does not exist.
        ValueError: The bag contains nothing to encode.
    """
    from train.bags.folder import bag_span_ns, nothing_in
    from train.bags.reader import BagReport
    from train.score.arguments import DEFAULT_MAX_RATE_HZ
    from train.score.embed import BagSource, embed_bag
    from train.score.timeline import thumbnails_of
    from train.score.track import track
    from train.score.windows import SensorTopics

    report = BagReport(bag)
    topics = SensorTopics.parse(topic_words)
    source = BagSource(bag, topics, binder.modalities, DEFAULT_MAX_RATE_HZ)
    span = bag_span_ns(bag)

    def tell(log_ns: int) -> None:
        if span is not None:
            session.progress = min(1.0, max(0.0, (log_ns - span[0]) / max(span[1] - span[0], 1)))

    session.message, session.progress = f'encoding {bag.name}', 0.0
    key = hashlib.sha256(f'{bag.resolve()} {binder.model} {topic_words}'.encode()).hexdigest()[:16]
    found = embed_bag(
        binder,
        source,
        store=cache_folder() / key,
        report=report,
        progress=tell,
        predicates=predicates,
    )
    if not len(found):
        raise nothing_in(bag, 'nothing to score', report.problems)
    session.seconds(
        span[0] if span and span[0] <= found.stamp_ns.min() else int(found.stamp_ns.min())
    )
    session.message = f'scoring {bag.name}'
    session.use(binder)
    session.explain = Explainer(binder, predicates, _Samples(binder, source))
    for moment in track(binder, predicates, found):
        said = {
            s.name: caveats(s.probability, calibrated=s.calibrated, reasons=s.reasons)
            for s in moment.evaluation.scores
        }
        session.add_scores(moment.time_ns, _probabilities(moment), caveats=said)
        states = {name: State(t.state).name for name, t in moment.evaluation.states.items()}
        session.add_states(moment.time_ns, states)
    _add_truth(session, bag, predicates=predicates)
    _add_embeddings(session, found)
    for stamp_ns, modality, jpeg in thumbnails_of(source, session.duration_s):
        session.add_picture(stamp_ns, modality, jpeg)
    session.message, session.progress = '; '.join(report.problems), None


class _Samples:
    """Encodes single samples of a bag again, since only their vectors were kept."""

    def __init__(self, binder: Binder, source: BagSource) -> None:
        self._binder, self._source = binder, source
        self._found: OrderedDict[tuple[str, int], tuple[int, Evidence]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, modality: str, stamp_ns: int) -> tuple[int, Evidence]:
        """Stamp and evidence of the last sample of a modality at a time.

        Raises:
            ValueError: There is none, or it cannot be decoded.
        """
        key = modality, stamp_ns
        with self._lock:
            if key not in self._found:
                self._found[key] = self._encode(modality, stamp_ns)
                while len(self._found) > MAX_SAMPLES:
                    self._found.popitem(last=False)
            return self._found[key]

    def _encode(self, modality: str, stamp_ns: int) -> tuple[int, Evidence]:
        from train.bags.reader import BagReport

        source = replace(self._source, modalities=(modality,))
        last = None
        for window in source.windows(BagReport(source.path)):
            if window.stamp_ns > stamp_ns:
                break
            last = window
        if last is None:
            raise ValueError(f'the bag has no {modality} up to that time')
        evidence = self._binder.observe(**{modality: last.raw()})[modality]
        assert not isinstance(evidence, list)
        return last.stamp_ns, evidence


def _probabilities(moment: Scored) -> dict[str, dict[str, float | None]]:
    """Return probabilities by series, then by predicate; None where no sensor is informative."""
    scores = moment.evaluation.scores
    series: dict[str, dict[str, float | None]] = {
        FUSED: {s.name: s.fused if s.can_tell else None for s in scores}
    }
    for modality in moment.fresh:
        series[modality] = {
            s.name: s.probability[modality] for s in scores if modality in s.probability
        }
    return series


def _add_truth(session: Session, bag: Path, *, predicates: Sequence[Predicate]) -> None:
    from train.phrasings import Phrasings
    from train.score.track import read_truth, truth_for

    named = read_truth(bag)
    for name, truth in truth_for(predicates, list(named), Phrasings.load('trained')).items():
        for stamp_ns, value in named[truth]:
            session.add_truth(stamp_ns, {name: value})


def _add_embeddings(session: Session, found: Embeddings) -> None:
    for row in found.stamp_ns.argsort(kind='stable'):
        session.add_embedding(
            int(found.stamp_ns[row]),
            str(found.modality[row]),
            found.vectors[row],
            invalid_reason=str(found.invalid_reason[row]),
        )
