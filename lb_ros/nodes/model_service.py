"""`load_model` where encoders run in processes of their own: `predicates` leads, they follow."""

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

FOLLOW_S = 110.0  # less than a client waits for `load_model`
TYPE = 'lb_ros/srv/LoadModel'


def offer_load_model(node: EncoderNode, model: SharedModel, settings: Settings) -> None:
    """Offer `<node>/load_model` for an encoder that has a process of its own."""
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
    """The encoders in other processes of this namespace, as `predicates` sees them.

    Args:
        node: Node `predicates`, in a process of its own.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._group = ReentrantCallbackGroup()
        # Of this namespace alone: the robots of other ones have models of their own.
        namespace = re.escape(node.get_namespace().rstrip('/'))
        self._pattern = re.compile(f'{namespace}/[^/]*_encoder/load_model')

    async def load(self, model: str, *, before: str, space: str) -> dict[str, str]:
        """Have all of them load a model set, or, where one cannot, keep the old one.

        Args:
            model: To load.
            before: At work now; loaded again by those that had changed already.
            space: Language space that `model` has here; one of another file has another.

        Returns:
            Node to why it did not follow; empty where all did.
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
        """Answers by service, None where there was none within `FOLLOW_S`."""
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
