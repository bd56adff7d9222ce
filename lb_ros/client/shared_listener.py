"""The listeners of a process: one per context and namespace, closed with its last client."""

from __future__ import annotations

import threading

import rclpy
from rclpy.context import Context
from rclpy.exceptions import InvalidNamespaceException
from rclpy.node import Node
from rclpy.validate_namespace import validate_namespace

from lb_ros.client.answers import NotAnsweredError
from lb_ros.client.listening import Listener
from lb_ros.dds_profile import use_dds_profile
from lb_ros.ros.type_supports import load_type_supports

_lock = threading.RLock()
_listeners: dict[tuple[Context, str | None], Listener] = {}
_started: set[Context] = set()  # initialised by a client, shut down with the last client


def acquire(node: Node | None, namespace: str) -> Listener:
    """Return the listener for a client; the first client of the process starts ROS if needed.

    Args:
        node: Node whose context and namespace to join; None for the default context.
        namespace: Replaces that of `node`; without both, that of the process's arguments is used.

    Raises:
        ValueError: `namespace` is not valid.
        NotAnsweredError: ROS was shut down, by a signal for example.
    """
    with _lock:
        asked = namespace or (None if node is None else node.get_namespace())
        wanted = None if asked is None else f'/{asked.strip("/")}'
        if wanted is not None:
            _check_namespace(wanted)
        load_type_supports()
        context = _context(node)
        _forget_dead(context)
        found = _listeners.get((context, wanted))
        if found is None:
            made = Listener(context, wanted)
            found = _listeners.setdefault((context, made.node.get_namespace()), made)
            if found is not made:  # a client gave the namespace of the arguments by name before
                made.close()
            _listeners[context, wanted] = found
        found.clients += 1
        return found


def release(listener: Listener) -> None:
    """Release a listener from `acquire`; the last release closes it."""
    with _lock:
        listener.clients -= 1
        if listener.clients:
            return
        for key in [key for key, each in _listeners.items() if each is listener]:
            del _listeners[key]
        context = listener.context
        is_last = all(key[0] is not context for key in _listeners)
        listener.close()
        if is_last and context in _started:
            _started.discard(context)
            if context.ok():
                rclpy.try_shutdown()  # the default context, which only this call replaces


def _check_namespace(namespace: str) -> None:
    try:
        validate_namespace(namespace)
    except InvalidNamespaceException as error:
        reason = str(error).split('\n')[0].rstrip(':')
        raise ValueError(f'{reason}, not {namespace!r}') from None


def _context(node: Node | None) -> Context:
    if node is not None:
        return node.context
    context = rclpy.get_default_context()
    if not context.ok():
        use_dds_profile()
        try:
            rclpy.init()
        except RuntimeError as error:
            raise NotAnsweredError(f'ROS was shut down in this process: {error}') from None
        context = rclpy.get_default_context()
        _started.add(context)
    return context


def _forget_dead(context: Context) -> None:
    """Drop listeners whose context was shut down; their clients keep references to them."""
    for key in [k for k, each in _listeners.items() if k[0] is context and not each.is_alive]:
        del _listeners[key]
