"""The command `lb-ros`. Importing this module, or running an offline subcommand, needs no ROS."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from lb_ros.interpreter import check_distribution, enter
from lb_ros.stopping import ReaderGone, Terminated, drop_output, raise_on_sigterm, watch_output


@dataclass(frozen=True, slots=True)
class Subcommand:
    """A subcommand of `lb-ros`.

    Attributes:
        help: One line of help.
        declare: `module:function` that declares its options, in a module that imports quickly.
        run: `module:function` that runs it; imported after the options have been checked.
        needs_ros: Whether it needs rclpy.
    """

    help: str
    declare: str
    run: str
    needs_ros: bool = False


def run_program() -> int:
    """Run `main` as the installed program, in the environment of the nodes if there is one.

    Help is printed by the current interpreter, unless it needs packages of the environment.
    """
    try:
        raise_on_sigterm()
        watch_output()
        return _entered(sys.argv[1:])
    except KeyboardInterrupt as stop:
        return _status(stop)


def _entered(words: list[str]) -> int:
    program = f'lb-ros {words[0]}' if words and words[0] in SUBCOMMANDS else ''
    wants_help = bool({'-h', '--help'} & set(words))
    if program and not wants_help:
        enter(program)
    try:
        return main(words)
    except ModuleNotFoundError as error:
        if program and wants_help:
            enter(program)
        print(
            f'{program or "lb-ros"}: needs {error.name}, which the Python of {sys.prefix} lacks: '
            f'{sys.executable} -m pip install it, or use the environment of `make setup`',
            file=sys.stderr,
        )
        return 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status.

    0 done, 1 failed, 2 unusable input, 130 interrupted and 143 terminated (also while a subcommand
    still imports), 141 the reader of its output has closed the pipe.
    """
    try:
        try:
            return _run(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            sys.stdout.flush()  # raises if the reader has closed the pipe
    except KeyboardInterrupt as stop:
        return _status(stop)
    except ReaderGone:
        drop_output()
        return 141


def _status(stop: KeyboardInterrupt) -> int:
    return 143 if isinstance(stop, Terminated) else 130


def _run(words: Sequence[str]) -> int:
    from train.arguments import Parser

    parser = Parser(
        prog='lb-ros',
        description='Robot sensors that answer in words.',
        epilog='lb-ros SUBCOMMAND --help explains each; lb-ros demo is a good start',
    )
    subparsers = parser.add_subparsers(dest='subcommand', required=True, metavar='SUBCOMMAND')
    for name, subcommand in SUBCOMMANDS.items():
        sub = subparsers.add_parser(name, help=subcommand.help, description=subcommand.help)
        if words and words[0] == name:
            _function(subcommand.declare)(sub)
    try:
        args = parser.parse_args(words)
    except SystemExit as end:  # help, or an invalid argument
        return int(end.code or 0)
    subcommand = SUBCOMMANDS[args.subcommand]
    if subcommand.needs_ros:
        check_distribution(f'lb-ros {args.subcommand}')
        if not _has_ros():
            print(
                f'lb-ros {args.subcommand}: needs ROS 2: source a ROS 2 Jazzy with lb_ros built, '
                f'or run `make setup`, which gets it from wheels',
                file=sys.stderr,
            )
            return 2
    return int(_function(subcommand.run)(args))


def _function(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(':')
    return getattr(import_module(module), name)  # type: ignore[no-any-return]


def _has_ros() -> bool:
    return all(importlib.util.find_spec(name) for name in ('rclpy', 'lb_ros.msg'))


def _robot(name: str, about: str, run: str) -> Subcommand:
    return Subcommand(about, f'lb_ros.cli.arguments:add_{name}_arguments', run, needs_ros=True)


SUBCOMMANDS: dict[str, Subcommand] = {
    'demo': Subcommand(
        'play a bag into live nodes and compare with the truth',
        'lb_ros.demo.arguments:add_arguments',
        'lb_ros.demo.run:run',
        needs_ros=True,
    ),
    'up': _robot('up', 'run all encoders and predicates in one process', 'lb_ros.cli.up:run'),
    'query': _robot(
        'query', 'compare sentences with what the sensors see now', 'lb_ros.cli.query:run'
    ),
    'wait': _robot(
        'wait', 'wait until predicates have a state', 'lb_ros.cli.predicate_commands:run_wait'
    ),
    'add': _robot(
        'add', 'score a sentence as a predicate', 'lb_ros.cli.predicate_commands:run_add'
    ),
    'list': _robot(
        'list', 'list predicates with their states', 'lb_ros.cli.predicate_commands:run_list'
    ),
    'tare': _robot('tare', 'tare the sensors of forces, joints or inertia', 'lb_ros.cli.tare:run'),
    'watch': _robot('watch', 'show scores and states as they change', 'lb_ros.cli.watch:run'),
    'teach': Subcommand(
        'correct or make a predicate from labelled moments, live or in bags',
        'lb_ros.cli.teach_arguments:add_arguments',
        'lb_ros.cli.teach_arguments:run',
    ),
    'label': Subcommand(
        'mark on a page when predicates are true, false or unclear in a bag',
        'lb_ros.dashboard.label_arguments:add_arguments',
        'lb_ros.dashboard.label:run',
    ),
    'dashboard': Subcommand(
        'a web page of a robot, a bag or an index',
        'lb_ros.dashboard.arguments:add_arguments',
        'lb_ros.dashboard.run:run',
    ),
    'models': Subcommand(
        'list, pull, convert, inspect and verify model sets',
        'lb_ros.cli.models_arguments:add_arguments',
        'lb_ros.cli.models:run',
    ),
    'sim': Subcommand(
        'write simulator bags with ground truth',
        'train.simulate.arguments:add_arguments',
        'train.simulate.cli:run',
    ),
    'train': Subcommand(
        'train encoders from bags', 'train.cli:add_train_arguments', 'train.cli:run_train'
    ),
    'calibrate': Subcommand(
        'fit probabilities from labelled bags',
        'train.cli:add_calibrate_arguments',
        'train.cli:run_calibrate',
    ),
    'bench': Subcommand(
        'measure encoding, preprocessing, text and scoring',
        'lb_ros.bench.arguments:add_arguments',
        'lb_ros.bench.cli:run',
    ),
    'eval': Subcommand(
        'measure a model set on labelled bags',
        'train.cli:add_eval_arguments',
        'train.cli:run_eval',
    ),
    'score': Subcommand(
        'score predicates on bags, as the live nodes would',
        'train.score.arguments:add_arguments',
        'train.score.cli:run',
    ),
    'index': Subcommand(
        'make the moments of bags searchable',
        'train.search.arguments:add_index_arguments',
        'train.search.cli:run_index',
    ),
    'search': Subcommand(
        'find moments in indexed bags by sentence or example',
        'train.search.arguments:add_search_arguments',
        'train.search.cli:run_search',
    ),
}


if __name__ == '__main__':
    raise SystemExit(main())
