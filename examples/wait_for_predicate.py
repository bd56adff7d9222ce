"""Wait until a predicate is TRUE.

lb-ros up &
python examples/wait_for_predicate.py "the stove is hot"
"""

from __future__ import annotations

import sys

from lb_ros.client import LanguageClient, NotAnsweredError


def main() -> int:
    """Wait for a sentence; return 0 if it becomes TRUE, 1 if not within 30 s, 2 on errors."""
    sentence = sys.argv[1] if len(sys.argv) > 1 else 'the stove is hot'
    try:
        with LanguageClient() as client:
            client.add(sentence)
            held = client.wait_until(sentence, timeout_s=30.0)
            print(f'{sentence}: {client.states()[sentence].state.name}')
    except NotAnsweredError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if held else 1


if __name__ == '__main__':
    raise SystemExit(main())
