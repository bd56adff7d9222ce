"""`lb-ros wait`, `add` and `list`: the predicates of running nodes from a shell."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from encoders import Predicate, State

NODES_S = 5.0


def run_wait(args: argparse.Namespace) -> int:
    """Wait for a state; return 0 if it was reached."""

    def work(client: Any) -> int:
        state = State[args.state.upper()]
        since_s = client.now_s() if args.change else None
        limits = {'timeout_s': args.timeout, 'state': state, 'since_s': since_s}
        if args.any:
            found = client.wait_any(args.names, **limits)
            reached, names = found is not None, [found] if found else args.names
        else:
            reached, names = client.wait_all(args.names, **limits), args.names
        if args.json:
            print(json.dumps({'reached': reached, 'state': state.name, 'predicates': names}))
        elif reached:
            print(f'{", ".join(names)}: {state.name}')
        else:
            _report_now(client, args.names, state, args.timeout)
        return 0 if reached else 1

    return with_client('wait', args.namespace, work)


def _report_now(client: Any, names: Sequence[str], state: State, timeout_s: float) -> None:
    states = client.states()
    for name in names:
        now = states.get(name)
        told = f'{now.state.name}: {now.reason}' if now else 'not scored any more'
        print(
            f'lb-ros wait: {name} not {state.name} within {timeout_s:g} s; it is {told}',
            file=sys.stderr,
        )


def run_add(args: argparse.Namespace) -> int:
    """Score sentences as predicates."""
    if args.name and len(args.sentences) > 1:
        return _refuse('add', '--name fits one sentence; leave it out or add them one by one', 2)
    try:
        predicates = [Predicate.from_sentence(s, name=args.name or s) for s in args.sentences]
    except ValueError as error:
        return _refuse('add', str(error), 2)

    def work(client: Any) -> int:
        active = client.add(*predicates)
        added = [predicate.name for predicate in predicates]
        if args.json:
            print(json.dumps({'added': added, 'active': active}))
        else:
            print(f'added {", ".join(added)}; scored now: {", ".join(active)}')
        return 0

    return with_client('add', args.namespace, work)


def run_list(args: argparse.Namespace) -> int:
    """List predicates with their states."""

    def work(client: Any) -> int:
        predicates, states = client.predicates(), client.states()
        if args.json:
            found = {p.name: _plain(p, states.get(p.name)) for p in predicates}
            print(json.dumps(found, indent=2))
            return 0
        width = max((len(p.name) for p in predicates), default=0)
        for predicate in predicates:
            now = states.get(predicate.name)
            told = f'{now.state.name:7} {now.probability:.2f}  {now.reason}' if now else 'new'
            print(f'{predicate.name:{width}}  {told}')
        return 0

    return with_client('list', args.namespace, work)


def _plain(predicate: Predicate, status: Any) -> dict[str, Any]:
    entry = {k: v for k, v in asdict(predicate).items() if k != 'name'}
    if status is not None:
        entry |= {
            'state': status.state.name,
            'probability': status.probability,
            'reason': status.reason,
            'since_s': status.since_s,
            'age_s': round(status.age_s, 3),
        }
    return entry


def with_client(command: str, namespace: str, work: Callable[[Any], int]) -> int:
    """Return what `work` makes of a client; print why nobody answered, and return 1 or 2."""
    from lb_ros.client import LanguageClient, NotAnsweredError

    try:
        with LanguageClient(namespace=namespace, timeout_s=NODES_S) as client:
            return work(client)
    except NotAnsweredError as error:
        return _refuse(command, str(error), 1)
    except ValueError as error:  # the namespace is not valid
        return _refuse(command, ' '.join(str(error).split()), 2)


def _refuse(command: str, reason: str, status: int) -> int:
    print(f'lb-ros {command}: {reason}', file=sys.stderr)
    return status
