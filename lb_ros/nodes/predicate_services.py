"""Services that list and change the predicates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

from rclpy.callback_groups import CallbackGroup

from encoders import PredicateBank
from encoders.one_core import on_one_core
from encoders.predicates.scoring import Scoring
from lb_ros.msg import Predicate as PredicateMsg
from lb_ros.ros.lifecycle import elsewhere
from lb_ros.ros.messages import predicate_message, predicates_from_messages
from lb_ros.ros.qos import MANY
from lb_ros.ros.refusals import Serve
from lb_ros.srv import AddPredicates, ListPredicates, RemovePredicates, SetPredicates

if TYPE_CHECKING:
    from lb_ros.nodes.predicates_node import PredicatesNode

MAX_PREDICATES = 10_000
Reply: TypeAlias = SetPredicates.Response | AddPredicates.Response | RemovePredicates.Response


class PredicateServices:
    """Offers `predicates/list`, `set`, `add` and `remove`; changes are all or nothing.

    Args:
        node: Node `predicates`.
        watched: Wraps the callback of a service, given the service's name.
        scoring: Returns the current scoring; None if the node is not configured.
        changed: Called after every change.
        pool: Thread that embeds new sentences.
        changes: Callback group of the changes, which run one at a time.
        any_time: Callback group of the other services.
    """

    def __init__(
        self,
        node: PredicatesNode,
        *,
        watched: Callable[[str, Serve], Serve],
        scoring: Callable[[], Scoring | None],
        changed: Callable[[], None],
        pool: ThreadPoolExecutor,
        changes: CallbackGroup,
        any_time: CallbackGroup,
    ) -> None:
        self._node, self._scoring, self._changed, self._pool = node, scoring, changed, pool
        for kind, name, callback, group in (
            (ListPredicates, 'list', self._list, any_time),
            (SetPredicates, 'set', self._set, changes),
            (AddPredicates, 'add', self._add, changes),
            (RemovePredicates, 'remove', self._remove, changes),
        ):
            serve = watched(f'predicates/{name}', callback)
            node.create_service(
                kind, f'predicates/{name}', serve, callback_group=group, qos_profile=MANY
            )

    async def _configured(self, response: Reply | ListPredicates.Response) -> Scoring | None:
        """Wait for a running transition; return the scoring, or None and set the message."""
        await self._node.transitions.settled()
        scoring = self._scoring()
        if scoring is None:
            response.message = f'{self._node.get_name()} is not configured'
        return scoring

    async def _list(
        self, request: ListPredicates.Request, response: ListPredicates.Response
    ) -> ListPredicates.Response:
        scoring = await self._configured(response)
        if scoring is None:
            return response
        response.success = True
        response.predicates = [predicate_message(p) for p in scoring.bank.predicates]
        return response

    async def _set(
        self, request: SetPredicates.Request, response: SetPredicates.Response
    ) -> Reply:
        return await self._change(response, request.predicates, keep=False)

    async def _add(
        self, request: AddPredicates.Request, response: AddPredicates.Response
    ) -> Reply:
        if not request.predicates:
            response.message = 'there are no predicates'
            return self._conclude(response, {})
        return await self._change(response, request.predicates, keep=True)

    async def _change(
        self, response: Reply, messages: Sequence[PredicateMsg], *, keep: bool
    ) -> Reply:
        """Add predicates, or (`keep` False) replace all by them; all of them or none."""
        scoring = await self._configured(response)
        if scoring is None:
            return response
        new = {message.name for message in messages}
        kept = [p.name for p in scoring.bank.predicates if p.name not in new] if keep else []
        count = len(kept) + len(messages)
        if count > MAX_PREDICATES:
            response.message = f'{count} predicates are more than {MAX_PREDICATES}'
            return self._conclude(response, {})

        def prepare() -> tuple[PredicateBank, dict[str, str]]:
            predicates, refused = predicates_from_messages(messages)
            bank = scoring.bank.copy() if keep else scoring.bank.emptied()
            if refused:
                return bank, refused
            with on_one_core():
                return bank, bank.try_extend(predicates)

        bank, refused = await elsewhere(self._node, self._pool, prepare)
        if not refused:
            scoring.replace(bank)
            self._changed()
        return self._conclude(response, refused)

    async def _remove(
        self, request: RemovePredicates.Request, response: RemovePredicates.Response
    ) -> Reply:
        scoring = await self._configured(response)
        if scoring is None:
            return response
        known = {predicate.name for predicate in scoring.bank.predicates}
        refused = {name: f'no predicate {name!r}' for name in request.names if name not in known}
        if not request.names:
            response.message = 'there are no names'
        elif not refused:
            bank = scoring.bank.copy()
            bank.remove(*request.names)
            scoring.replace(bank)
            self._changed()
        return self._conclude(response, refused)

    def _conclude(self, response: Reply, refused: dict[str, str]) -> Reply:
        scoring = self._scoring()
        response.message = response.message or '; '.join(refused.values())
        response.success = not response.message
        response.refused, response.reasons = list(refused), list(refused.values())
        response.active = [p.name for p in scoring.bank.predicates] if scoring else []
        return response
