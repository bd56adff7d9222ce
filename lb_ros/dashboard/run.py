"""`lb-ros dashboard`: a page of a robot, a bag or an index, by default for this machine only."""

from __future__ import annotations

import argparse
import importlib.util
import os
import socket
import sys
import threading
from pathlib import Path

import torch

from encoders import Binder, ModelSetError, Predicate, PredicateError, load_predicates
from encoders.predicates.taught_file import own_taught_path, taught_path
from encoders.shipped import shipped
from lb_ros.dashboard.server import Site, fill_in_background, make_app
from lb_ros.dashboard.session import Session

TOP = 24


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted, then return 0; return 2 for unusable input."""
    # Leave cores for the robot.
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))
    try:
        predicates = load_predicates(args.predicates or shipped('config/predicates.yaml'))
        if args.source is None:
            return _serve_robot(args, predicates)
        site, place = _recorded_site(args, predicates)
        return serve(site, args, place=place)
    except (ModelSetError, PredicateError, ModuleNotFoundError, OSError, ValueError) as error:
        print(f'lb-ros dashboard: {error}', file=sys.stderr)
        return 2


def _recorded_site(args: argparse.Namespace, predicates: list[Predicate]) -> tuple[Site, str]:
    from train.search.store import index_exists

    if index_exists(args.source):
        return _index_site(args, predicates), ''
    bag, place = bag_and_place(args.source)
    if not bag.exists():
        raise FileNotFoundError(f'{bag}: neither a bag nor an index')
    binder = Binder.load(args.model or 'lb-mini')
    session = Session(bag.name, live=False)
    fill_in_background(session, bag, _filler(binder, predicates, args))
    return Site(session), place


def bag_and_place(word: str) -> tuple[Path, str]:
    """The bag of `BAG` or `BAG@12.5s`, and the query of the page that begins there.

    Raises:
        ValueError: What follows @ is no time.
    """
    from train.search.like import parse_place

    bag = Path(word)
    if bag.exists() or '@' not in word:
        return bag, ''
    name, at_s = parse_place(word)
    return Path(name), f'?at={at_s}'


def _filler(binder: Binder, predicates: list[Predicate], args: argparse.Namespace):  # type: ignore[no-untyped-def]
    from lb_ros.dashboard.recorded import load_bag

    topics = tuple(args.topics)
    taught = taught_path(args.predicates) if args.predicates else own_taught_path()
    return lambda session, bag: load_bag(
        session, bag, binder, predicates, topic_words=topics, taught=taught
    )


def _index_site(args: argparse.Namespace, predicates: list[Predicate]) -> Site:
    from train.search.find import find_sentence
    from train.search.store import MomentStore

    store = MomentStore(args.source)
    binder = Binder.load(args.model or store.about.model)
    store.check_space(binder.space)
    bags = len(store.bags())
    counted = f'{bags} bag' if bags == 1 else f'{bags} bags'
    title = f'{Path(args.source).name}: {len(store)} moments of {counted}'
    return Site(
        Session(title, live=False),
        search=lambda sentence: find_sentence(
            store, binder, sentence, modalities=binder.modalities, top=TOP
        ),
        thumbnail=store.thumbnail,
        open_bag=_filler(binder, predicates, args),
        known_bags=store.bags,
    )


def _serve_robot(args: argparse.Namespace, predicates: list[Predicate]) -> int:
    if not all(importlib.util.find_spec(name) for name in ('rclpy', 'lb_ros.msg')):
        raise ModuleNotFoundError('a running robot needs ROS 2; give a BAG or an INDEX without it')
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from lb_ros.dashboard.live import DashboardNode, listen
    from lb_ros.dashboard.robot_teacher import RobotTeacher
    from lb_ros.dds_profile import use_dds_profile

    session = Session('live', live=True)
    make_app(Site(session))  # raises before anything starts if the server is not installed
    use_dds_profile()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    stop = threading.Event()
    node = DashboardNode(
        session, load=lambda model: Binder.load(args.model or model), predicates=predicates
    )
    thread = threading.Thread(target=listen, args=(node, session, stop), name='listen')
    thread.start()
    teacher = session.teacher = RobotTeacher(session)
    try:
        return serve(Site(session), args)
    finally:
        teacher.close()
        stop.set()
        thread.join()
        node.destroy_node()
        rclpy.try_shutdown()


def serve(
    site: Site, args: argparse.Namespace, *, place: str = '', title: str = 'dashboard'
) -> int:
    """Serve on `args.host` and `args.port` until interrupted; return 0.

    Raises:
        OSError: The address cannot be used; the message names it and the remedy.
    """
    app = make_app(site)
    import uvicorn

    with socket.socket(socket.AF_INET6 if ':' in args.host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((args.host, args.port))
        except OSError as error:
            raise OSError(
                f'{args.host}:{args.port}: {error.strerror or error}; give another --port '
                f'(0 for any free one), or an address of this machine to --host'
            ) from error
        listener.listen()  # a browser that is faster than the server waits
        port = listener.getsockname()[1]
        print(f'{title}: http://{args.host}:{port}/{place}', flush=True)
        config = uvicorn.Config(app, log_level='warning', access_log=False)
        uvicorn.Server(config).run(sockets=[listener])
    return 0
