"""`lb-ros query`: compare sentences with the current evidence of the sensors."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from lb_ros.client import LanguageClient, NotAnsweredError


def run(args: argparse.Namespace) -> int:
    """Query and print; return 0 with answers, 1 if no node answered, 2 for unusable input."""
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
