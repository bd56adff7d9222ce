"""Requests and goals that a client sends, and the outcome of a wait."""

from __future__ import annotations

from collections.abc import Sequence

from encoders import State
from lb_ros.action import WaitForPredicate
from lb_ros.client.answers import NotAnsweredError
from lb_ros.ros.stamps import to_stamp
from lb_ros.srv import QueryText


def query_request(
    texts: Sequence[str],
    *,
    modalities: Sequence[str],
    max_age_ms: float,
    at_s: float | None,
    ago_s: float,
) -> QueryText.Request:
    """Build a query about now, a time `at_s`, or `ago_s` seconds ago.

    Raises:
        ValueError: Both `at_s` and `ago_s` are given.
    """
    if at_s is not None and ago_s:
        raise ValueError('at_s and ago_s both name the moment; give one of them')
    request = QueryText.Request(
        texts=list(texts),
        modalities=list(modalities),
        max_age_ms=float(max_age_ms),
        ago_s=float(ago_s),
    )
    if at_s is not None:
        request.at = to_stamp(round(at_s * 1e9))
    return request


def wait_goal(
    names: Sequence[str],
    *,
    state: State,
    timeout_s: float,
    since_s: float | None = None,
    any_of: bool = False,
) -> WaitForPredicate.Goal:
    """Build a goal of `wait_for`.

    Raises:
        ValueError: `names` is empty or a string.
    """
    if isinstance(names, str) or not names:
        raise ValueError(f'names must be a list of one or more predicates, not {names!r}')
    goal = WaitForPredicate.Goal(
        name=names[0],
        more_names=list(names[1:]),
        state=int(state),
        timeout_s=float(timeout_s),
        any_of=any_of,
    )
    if since_s is not None:
        goal.since = to_stamp(round(since_s * 1e9))
    return goal


def wait_outcome(result: WaitForPredicate.Result) -> tuple[bool, str]:
    """Return whether the state was reached in time, and the name of the predicate.

    Raises:
        NotAnsweredError: The wait ended for a reason other than its time limit; see `code`.
    """
    if result.code not in (WaitForPredicate.Result.REACHED, WaitForPredicate.Result.TIMEOUT):
        raise NotAnsweredError(result.message, code=result.code)
    return bool(result.reached), str(result.state.name)
