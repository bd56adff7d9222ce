"""Service `load_model` for encoders in separate processes, coordinated by `predicates`."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future

from lb_ros.engine.background import background_pool
from lb_ros.nodes.confinement import check_confined
from lb_ros.nodes.encoder_node import LOAD_ERRORS, EncoderNode
from lb_ros.nodes.shared_model import SharedModel
from lb_ros.ros.lifecycle import elsewhere
from lb_ros.ros.parameters import Settings
from lb_ros.srv import LoadModel

FOLLOW_S = 110.0  # shorter than a client's timeout for `load_model`
TYPE = 'lb_ros/srv/LoadModel'


def offer_load_model(node: EncoderNode, model: SharedModel, settings: Settings) -> None:
    """Offer `<node>/load_model` for an encoder in its own process."""
    pool = background_pool(f'{node.get_name()} load_model')

    async def load(request: LoadModel.Request, response: LoadModel.Response) -> LoadModel.Response:
        await node.transitions.settled()
        if not model.is_loaded():
            response.message = f'{node.get_name()} is not configured'
            return response
        values = settings.values
        try:
            check_confined(request.model, configured=values.model, root=values.model_root)
            binder = await elsewhere(node, pool, lambda: model.load(request.model))
        except LOAD_ERRORS as error:
            response.message = str(error.args[0] if error.args else error)
            return response
        if not model.is_loaded():
            response.message = f'{node.get_name()} was cleaned up meanwhile'
            return response
        model.use(binder)
        response.success, response.language_space = True, binder.space
        return response

    node.create_service(
        LoadModel,
        f'{node.get_name()}/load_model',
        load,
        callback_group=MutuallyExclusiveCallbackGroup(),
    )


class Followers:
    """The encoders in other processes of this namespace, led by `predicates`.

    Args:
        node: Node `predicates`, in its own process.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._group = ReentrantCallbackGroup()
        # Only this namespace: robots in other namespaces have their own models.
        namespace = re.escape(node.get_namespace().rstrip('/'))
        self._pattern = re.compile(f'{namespace}/[^/]*_encoder/load_model')

    async def load(self, model: str, *, before: str, space: str) -> dict[str, str]:
        """Make all encoders load a model set; if one fails, all return to the old one.

        Args:
            model: Model set to load.
            before: Model set in use; reloaded by encoders that had already switched.
            space: Language space of `model` in this process; a different file has a different one.

        Returns:
            Reason of the failure by node; empty if all succeeded.
        """
        known = self._node.get_service_names_and_types()
        names = [n for n, kinds in known if TYPE in kinds and self._pattern.fullmatch(n)]
        answers = await self._ask(names, model)
        refused = {
            name: _reason(answer, space)
            for name, answer in answers.items()
            if _reason(answer, space)
        }
        if refused:
            changed = [name for name, answer in answers.items() if answer and answer.success]
            back = await self._ask(changed, before)
            for name, answer in back.items():
                if answer is None or not answer.success:
                    refused[name] = f'did not return to {before}'
        return {name.split('/')[-2]: reason for name, reason in refused.items()}

    async def _ask(self, names: Sequence[str], model: str) -> dict[str, LoadModel.Response | None]:
        """Return the responses by service; None for no response within `FOLLOW_S`."""
        if not names:
            return {}
        clients = {
            name: self._node.create_client(LoadModel, name, callback_group=self._group)
            for name in names
        }
        answers: dict[str, LoadModel.Response | None] = dict.fromkeys(names)
        ended = Future()
        once = threading.Lock()

        def end() -> None:
            with once:
                if not ended.done():
                    ended.set_result(None)
            self._node.executor.wake()

        def answered(name: str, future: Future) -> None:
            answers[name] = future.result()
            if all(answer is not None for answer in answers.values()):
                end()

        for name, client in clients.items():
            future = client.call_async(LoadModel.Request(model=model))
            future.add_done_callback(lambda future, name=name: answered(name, future))
        timer = threading.Timer(FOLLOW_S, end)
        timer.daemon = True
        timer.start()
        await ended
        timer.cancel()
        for client in clients.values():
            self._node.destroy_client(client)
        return answers


def _reason(answer: LoadModel.Response | None, space: str) -> str:
    if answer is None:
        return f'no answer within {FOLLOW_S:.0f} s'
    if not answer.success:
        return str(answer.message)
    if answer.language_space != space:
        return f'its model set is of language space {answer.language_space!r}, not {space!r}'
    return ''
