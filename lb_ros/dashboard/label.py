"""`lb-ros label`: the dashboard over a bag, on which a person labels stretches of time."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from encoders import Binder, ModelSetError, Predicate, PredicateError, load_predicates
from encoders.shipped import shipped
from lb_ros.dashboard.recorded import load_bag
from lb_ros.dashboard.run import bag_and_place, serve
from lb_ros.dashboard.server import Site, fill_in_background, make_app
from lb_ros.dashboard.session import Session

if TYPE_CHECKING:
    from train.teaching.label_file import LabelFile

# Images of a sensor: so far apart, or further where there would be more.
PICTURE_STEP_S, MAX_PICTURES = 0.1, 3000
ERRORS = (ModelSetError, PredicateError, ModuleNotFoundError, OSError, ValueError)


def run(args: argparse.Namespace) -> int:
    """Serve the page until interrupted, or show the labels; return 2 for unusable input.

    With `--show`: 1 if there are problems.
    """
    try:
        if args.json and not args.show:
            raise ValueError('--json needs --show')
        return _show(args) if args.show else _label(args)
    except ERRORS as error:
        print(f'lb-ros label: {error}', file=sys.stderr)
        return 2


def _show(args: argparse.Namespace) -> int:
    from train.bags.labels import labels_path
    from train.teaching.label_table import show_labels

    bag, _ = bag_and_place(args.bag)
    path = args.labels or labels_path(bag)
    _start_ns(bag, args.topics)
    if not path.exists():
        raise FileNotFoundError(f'{path}: no labels yet; make some with: lb-ros label {bag}')
    known = load_predicates(args.predicates or shipped('config/predicates.yaml'))
    return show_labels(bag, path, known, as_json=args.json)


def _label(args: argparse.Namespace) -> int:
    from train.bags.labels import labels_path, name_of
    from train.teaching.label_file import LabelFile

    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))
    bag, place = bag_and_place(args.bag)
    start_ns = _start_ns(bag, args.topics)
    known = load_predicates(args.predicates or shipped('config/predicates.yaml'))
    chosen = _chosen(args.names, known)
    path = args.labels or labels_path(bag)
    labels = LabelFile(path, name_of(bag), names=[predicate.name for predicate in chosen])
    session = Session(bag.name, live=False)
    make_app(Site(session))  # raises before the model is loaded if the server is not installed
    binder = Binder.load(args.model)
    session.labels = labels
    session.seconds(start_ns)  # so that times of the page are those of the file
    session.use(binder)
    fill = partial(
        _fill,
        binder=binder,
        predicates=_with_labelled(chosen, known, labels),
        topic_words=tuple(args.topics),
        scores=not args.no_scores,
    )
    fill_in_background(session, bag, fill)
    print(f'labels: {path} ({labels.count} stretches of {name_of(bag)})')
    try:
        return serve(Site(session), args, place=place, title='label')
    finally:
        print(f'{path}: {labels.count} stretches of {name_of(bag)}')


def _start_ns(bag: Path, topic_words: Sequence[str]) -> int:
    """The time from which labels of a bag count.

    Raises:
        FileNotFoundError: There is no such bag.
        ValueError: No message of it can be read, or it has no sensor.
    """
    from train.bags.labels import sensor_start_ns
    from train.score.windows import SensorTopics

    if not bag.exists():
        raise FileNotFoundError(f'{bag}: there is no such bag')
    start_ns = sensor_start_ns(bag, SensorTopics.parse(topic_words).named)
    if start_ns is None:
        raise ValueError(
            f'{bag}: holds no sensor on a topic of a usual name; '
            f'name its topics, as in --topic depth=/camera/depth/image_raw'
        )
    return start_ns


def _chosen(names: Sequence[str], known: Sequence[Predicate]) -> list[Predicate]:
    """The named predicates; sentences become predicates. Without names, all that are known.

    Raises:
        PredicateError: A name is no sentence.
    """
    by_name = {predicate.name: predicate for predicate in known}
    sentences = [' '.join(name.split()) for name in names]
    found = [by_name.get(name) or Predicate.from_sentence(name, name=name) for name in sentences]
    return list({predicate.name: predicate for predicate in found}.values()) or list(known)


def _with_labelled(
    chosen: Sequence[Predicate], known: Sequence[Predicate], labels: LabelFile
) -> list[Predicate]:
    """The chosen predicates, and those that have labels already."""
    names = {predicate.name for predicate in chosen}
    others = [name for name in labels.shown() if name not in names]
    return [*chosen, *(_chosen(others, known) if others else ())]


def _fill(
    session: Session,
    bag: Path,
    *,
    binder: Binder,
    predicates: list[Predicate],
    topic_words: tuple[str, ...],
    scores: bool,
) -> None:
    """Show a bag: first its images, so that labelling may begin, then scores."""
    from train.bags.folder import bag_span_ns
    from train.score.arguments import DEFAULT_MAX_RATE_HZ
    from train.score.embed import BagSource
    from train.score.timeline import thumbnails
    from train.score.windows import SensorTopics

    span = bag_span_ns(bag)
    length_s = (span[1] - span[0]) * 1e-9 if span else 0.0
    session.duration_s = max(session.duration_s, length_s)
    topics = SensorTopics.parse(topic_words)
    source = BagSource.of(bag, binder, topics=topics, max_rate_hz=DEFAULT_MAX_RATE_HZ)
    session.message, session.progress = f'reading {bag.name}', 0.0
    step_s = max(PICTURE_STEP_S, length_s / MAX_PICTURES)
    for stamp_ns, modality, jpeg in thumbnails(source, step_s):
        session.add_picture(stamp_ns, modality, jpeg)
        time_s = session.seconds(stamp_ns)
        session.duration_s = max(session.duration_s, time_s)
        session.progress = min(1.0, time_s / length_s) if length_s else None
    session.message, session.progress = '', None
    if scores:
        load_bag(session, bag, binder, predicates, topic_words=topic_words, pictures=False)
