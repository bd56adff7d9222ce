"""A session from a recorded bag; its embeddings are cached for the next time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from encoders import Binder, Predicate, State
from encoders.predicates.fusion import caveats
from lb_ros.dashboard.answers import series_of
from lb_ros.dashboard.bag_evidence import BagEvidence
from lb_ros.dashboard.session import Session
from lb_ros.dashboard.teaching import BagTeacher, usable
from lb_ros.dashboard.why import Explainer

if TYPE_CHECKING:
    from train.score.parts import Embeddings
    from train.score.track import Scored


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
    taught: Path | None = None,
    pictures: bool = True,
) -> None:
    """Score a bag into a session, which can then be asked and taught.

    Args:
        session: Session to fill; its message shows the progress.
        bag: Bag folder or file.
        binder: The encoders.
        predicates: Predicates to score.
        topic_words: `modality=/topic`, for topics without their usual names.
        taught: File that keeps what was taught; None if the session cannot be taught.
        pictures: Whether to add the images of sensors.

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
    source = BagSource.of(bag, binder, topics=topics, max_rate_hz=DEFAULT_MAX_RATE_HZ)
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
    for stamp_ns, modality, jpeg in thumbnails_of(source, session.duration_s) if pictures else ():
        session.add_picture(stamp_ns, modality, jpeg)
    session.message, session.progress = '; '.join(report.problems), None
    _offer(session, bag, binder, predicates, found=found, taught=taught)


def _offer(
    session: Session,
    bag: Path,
    binder: Binder,
    predicates: Sequence[Predicate],
    *,
    found: Embeddings,
    taught: Path | None,
) -> None:
    """Let the session be asked and taught from tokens, and answer again what was taught."""
    from train.bags.labels import name_of

    told = session.message

    def tell(share: float | None) -> None:
        words = told if share is None else f'encoding moments of {bag.name} again'
        session.message, session.progress = words, share

    evidence = BagEvidence(binder, bag, found, tell=tell)
    session.explain = Explainer(binder, predicates, evidence.newest)
    if binder.readouts:
        session.past = evidence.moments
        evidence.moments()  # so that the first question and the first press need not wait
    if taught is None:
        return
    source = name_of(bag)
    session.teacher = BagTeacher(session, binder, predicates, evidence, path=taught, source=source)
    lessons = usable(taught, binder)
    known = {predicate.name: predicate for predicate in predicates}
    for name, lesson in lessons.by_name.items():
        if lesson.fits(known.get(name, lesson.predicate)):
            session.answer_again(lesson.predicate, lessons)


def _probabilities(moment: Scored) -> dict[str, dict[str, float | None]]:
    """Return probabilities by series, then by predicate; None where no sensor is informative."""
    found: dict[str, dict[str, float | None]] = {}
    for score in moment.evaluation.scores:
        for key, value in series_of(score, moment.fresh).items():
            found.setdefault(key, {})[score.name] = value
    return found


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
