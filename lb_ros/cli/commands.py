"""The command `lb-ros`. Importing this module, or running an offline subcommand, needs no ROS."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lb_ros.interpreter import check_distribution, enter

Arguments = argparse.ArgumentParser
Runner = Callable[[argparse.Namespace], int]


@dataclass(frozen=True, slots=True)
class Subcommand:
    """One word after `lb-ros`.

    Attributes:
        help: One line.
        load: Gives the functions that declare its options and run it; called only when it is used.
        needs_ros: Whether it needs rclpy.
    """

    help: str
    load: Callable[[], tuple[Callable[[Arguments], None], Runner]]
    needs_ros: bool = False


def run_program() -> int:
    """Run the installed program: `main`, in the environment of the nodes if there is one.

    Help is shown in whichever interpreter this is, unless it needs packages of the environment.
    """
    words = sys.argv[1:]
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
    """Run a subcommand; returns its exit status.

    0 done, 1 failed, 2 unusable input, 130 interrupted (also while a subcommand still imports),
    141 the reader of its output has gone.
    """
    try:
        return _run(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        from lb_ros.stopping import drop_output, is_reader_gone

        if not is_reader_gone():
            raise
        drop_output()
        return 141


def _run(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog='lb-ros',
        description='Robot sensors that answer in words.',
        epilog='lb-ros SUBCOMMAND --help explains each; lb-ros demo is a good start',
    )
    subparsers = parser.add_subparsers(dest='subcommand', required=True, metavar='SUBCOMMAND')
    runners: dict[str, Runner] = {}
    for name, subcommand in SUBCOMMANDS.items():
        sub = subparsers.add_parser(name, help=subcommand.help, description=subcommand.help)
        if words and words[0] == name:
            add_arguments, runners[name] = subcommand.load()
            add_arguments(sub)
    args = parser.parse_args(words)
    if SUBCOMMANDS[args.subcommand].needs_ros:
        check_distribution(f'lb-ros {args.subcommand}')
        if not _has_ros():
            print(
                f'lb-ros {args.subcommand}: needs ROS 2: source a ROS 2 Jazzy with lb_ros built, '
                f'or run `make setup`, which gets it from wheels',
                file=sys.stderr,
            )
            return 2
    return runners[args.subcommand](args)


def _has_ros() -> bool:
    return all(importlib.util.find_spec(name) for name in ('rclpy', 'lb_ros.msg'))


def _demo() -> tuple[Callable[[Arguments], None], Runner]:
    from lb_ros.demo.arguments import add_arguments

    def run(args: argparse.Namespace) -> int:
        from lb_ros.demo.run import run

        return run(args)

    return add_arguments, run


def _sim() -> tuple[Callable[[Arguments], None], Runner]:
    from train.simulate import cli

    return cli.add_arguments, cli.run


def _models() -> tuple[Callable[[Arguments], None], Runner]:
    from lb_ros.cli.models_arguments import add_arguments

    def run(args: argparse.Namespace) -> int:
        from lb_ros.cli.models import run

        return run(args)

    return add_arguments, run


def _bench() -> tuple[Callable[[Arguments], None], Runner]:
    from lb_ros.bench import cli

    return cli.add_arguments, cli.run


def _offline(name: str) -> tuple[Callable[[Arguments], None], Runner]:
    from train.cli import COMMANDS

    return COMMANDS[name].add_arguments, COMMANDS[name].run


def _score() -> tuple[Callable[[Arguments], None], Runner]:
    from train.score import cli

    return cli.add_arguments, cli.run


def _index() -> tuple[Callable[[Arguments], None], Runner]:
    from train.search import cli

    return cli.add_index_arguments, cli.run_index


def _search() -> tuple[Callable[[Arguments], None], Runner]:
    from train.search import cli

    return cli.add_search_arguments, cli.run_search


def _dashboard() -> tuple[Callable[[Arguments], None], Runner]:
    from lb_ros.dashboard.arguments import add_arguments

    def run(args: argparse.Namespace) -> int:
        from lb_ros.dashboard.run import run

        return run(args)

    return add_arguments, run


def _up() -> tuple[Callable[[Arguments], None], Runner]:
    def add_arguments(parser: Arguments) -> None:
        parser.epilog = 'example: lb-ros up modalities:=[depth,touch] depth_inputs:=[/zed/depth]'
        parser.add_argument(
            'parameters',
            nargs='*',
            metavar='PARAMETER:=VALUE',
            help='any parameter of bringup; see --params-file',
        )
        parser.add_argument('--params-file', type=Path, help='as config/parameters.yaml')
        parser.add_argument('--model', help='model set; lb-mini by default')
        parser.add_argument(
            '--predicates', type=Path, help='YAML file; the shipped one by default'
        )

    def run(args: argparse.Namespace) -> int:
        from lb_ros.start import start

        settings = list(args.parameters)
        for setting in settings:
            if ':=' not in setting:
                print(f'lb-ros up: {setting!r}: expected PARAMETER:=VALUE', file=sys.stderr)
                return 2
        settings += [f'model:={args.model}'] if args.model else []
        settings += [f'predicates:={args.predicates}'] if args.predicates else []
        words = ['--ros-args']
        words += ['--params-file', str(args.params_file)] if args.params_file else []
        start('bringup', [*words, *(word for setting in settings for word in ('-p', setting))])

    return add_arguments, run


def _query() -> tuple[Callable[[Arguments], None], Runner]:
    def add_arguments(parser: Arguments) -> None:
        parser.epilog = 'example: lb-ros query "the drawer is open" "the stove is hot"'
        parser.add_argument('texts', nargs='+', metavar='SENTENCE')
        parser.add_argument('--modalities', nargs='*', default=[], help='ask only these')
        parser.add_argument('--max-age-ms', type=float, default=1000.0)
        parser.add_argument(
            '--ago', type=float, default=0.0, metavar='SECONDS', help='ask about a past moment'
        )
        parser.add_argument('--namespace', default='', help='of the nodes')
        parser.add_argument(
            '--timeout', type=float, default=5.0, help='seconds to wait for the nodes'
        )
        parser.add_argument('--json', action='store_true')

    def run(args: argparse.Namespace) -> int:
        from lb_ros.client import LanguageClient, NotAnsweredError

        try:
            with LanguageClient(namespace=args.namespace, timeout_s=args.timeout) as client:
                answers = client.query(
                    args.texts,
                    modalities=args.modalities,
                    max_age_ms=args.max_age_ms,
                    ago_s=args.ago,
                )
        except (NotAnsweredError, ValueError) as error:
            print(f'lb-ros query: {" ".join(str(error).split())}', file=sys.stderr)
            return 1 if isinstance(error, NotAnsweredError) else 2
        _print_answers(answers, as_json=args.json)
        return 0

    return add_arguments, run


def _predicates(name: str) -> tuple[Callable[[Arguments], None], Runner]:
    from lb_ros.cli import predicate_commands as found

    return {
        'wait': (found.add_wait_arguments, found.run_wait),
        'add': (found.add_add_arguments, found.run_add),
        'list': (found.add_list_arguments, found.run_list),
    }[name]


def _print_answers(answers: Sequence[Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([_plain(answer) for answer in answers], indent=2))
        return
    for answer in answers:
        parts = [
            f'{name} {value:.2f}'
            for name, value in answer.probability.items()
            if value is not None
        ]
        fused = 'no evidence' if answer.fused is None else f'{answer.fused:.2f}'
        fused += '' if answer.calibrated else ' (not calibrated)'
        print(f'{answer.text}: {fused}' + (f'  ({", ".join(parts)})' if parts else ''))
    for name, reason in (answers[0].reasons if answers else {}).items():
        print(f'  {name}: {reason}')


def _plain(answer: Any) -> dict[str, Any]:
    return {
        'text': answer.text,
        'fused': answer.fused,
        'probability': answer.probability,
        'similarity': answer.similarity,
        'ages_ms': answer.ages_ms,
        'reasons': answer.reasons,
        'calibrated': answer.calibrated,
    }


def _watch() -> tuple[Callable[[Arguments], None], Runner]:
    def add_arguments(parser: Arguments) -> None:
        parser.epilog = 'example: lb-ros watch'
        parser.add_argument('--json', action='store_true', help='one JSON object per evaluation')
        parser.add_argument('--seconds', type=float, default=math.inf, help='stop after this long')
        parser.add_argument('--namespace', default='', help='of the nodes')

    def run(args: argparse.Namespace) -> int:
        from lb_ros.cli.watch import watch

        return watch(as_json=args.json, seconds=args.seconds, namespace=args.namespace)

    return add_arguments, run


SUBCOMMANDS: dict[str, Subcommand] = {
    'demo': Subcommand('play a bag into live nodes and compare with the truth', _demo, True),
    'up': Subcommand('run all encoders and predicates in one process', _up, True),
    'query': Subcommand('compare sentences with what the sensors see now', _query, True),
    'wait': Subcommand('wait until predicates have a state', lambda: _predicates('wait'), True),
    'add': Subcommand('score a sentence as a predicate', lambda: _predicates('add'), True),
    'list': Subcommand('list predicates with their states', lambda: _predicates('list'), True),
    'watch': Subcommand('show scores and states as they change', _watch, True),
    'dashboard': Subcommand('a web page of a robot, a bag or an index', _dashboard),
    'models': Subcommand('list, pull, convert, inspect and verify model sets', _models),
    'sim': Subcommand('write simulator bags with ground truth', _sim),
    'train': Subcommand('train encoders from bags', lambda: _offline('train')),
    'calibrate': Subcommand('fit probabilities from labelled bags', lambda: _offline('calibrate')),
    'bench': Subcommand('measure encoding, preprocessing, text and scoring', _bench),
    'eval': Subcommand('measure a model set on labelled bags', lambda: _offline('eval')),
    'score': Subcommand('score predicates on bags, as the live nodes would', _score),
    'index': Subcommand('make the moments of bags searchable', _index),
    'search': Subcommand('find moments in indexed bags by sentence or example', _search),
}


if __name__ == '__main__':
    raise SystemExit(main())
