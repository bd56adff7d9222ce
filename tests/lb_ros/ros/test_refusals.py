"""Refused requests are counted by service, and logged once in a while."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from lb_ros.engine.throttle import LOG_PERIOD_S, Throttle
from lb_ros.ros.refusals import Refusals


def test_refusals_are_counted_and_logged_once() -> None:
    lines: list[str] = []
    refusals = Refusals(lines.append)

    async def serve(request: Any, response: Any) -> Any:
        response.success = request != 'bad'
        response.message = '' if response.success else 'text 0 is empty'
        return response

    add = refusals.watched('predicates/add', serve)
    for request in ('bad', 'good', 'bad', 'bad'):
        asyncio.run(add(request, SimpleNamespace()))
    assert refusals.values() == {'refused_predicates/add': '3'}
    assert lines == ['predicates/add was refused: text 0 is empty']


def test_a_later_line_reports_how_many_it_stands_for() -> None:
    now_s = [0.0]
    throttle = Throttle(lambda: now_s[0])
    assert throttle.note('dark') == ''
    assert [throttle.note('dark') for _ in range(4)] == [None] * 4
    assert throttle.note('flat') == ''
    now_s[0] += LOG_PERIOD_S
    assert throttle.note('dark') == ' (4 more of the kind since the last line)'
    assert throttle.counts == {'dark': 6, 'flat': 1}
