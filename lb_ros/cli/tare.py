"""`lb-ros tare`: take what sensors measure now as the values while nothing acts on them."""

from __future__ import annotations

import argparse
import json
from typing import Any

from lb_ros.cli.predicate_commands import with_client


def run(args: argparse.Namespace) -> int:
    """Tare each sensor; return 0 if all were tared."""

    def work(client: Any) -> int:
        tared = {sensor: client.tare(sensor) for sensor in args.sensors}
        if args.json:
            print(json.dumps(tared))
        else:
            print('\n'.join(f'{sensor} tared: {line}' for sensor, line in tared.items()))
        return 0

    return with_client('tare', args.namespace, work)
