"""Namespaces whose nodes answer queries."""

from __future__ import annotations

from rclpy.node import Node

QUERY, KIND = '/query', 'lb_ros/srv/QueryText'


def answering_namespaces(node: Node) -> list[str]:
    """Return the namespaces in which a node offers `query`, sorted."""
    found = node.get_service_names_and_types()
    return sorted(
        name.removesuffix(QUERY) or '/'
        for name, kinds in found
        if name.endswith(QUERY) and KIND in kinds
    )


def elsewhere_line(node: Node) -> str:
    """Return a line on other namespaces that answer and how to query them; empty if none does."""
    others = [n for n in answering_namespaces(node) if n != node.get_namespace()]
    if not others:
        return ''
    names = ' and '.join(others)
    return f'nodes answer in {names}: choose one with namespace (--namespace {others[0]})'


def nobody_line(node: Node, name: str, timeout_s: float) -> str:
    """Return a line stating that no node offers `name`, and which namespaces have nodes."""
    return (
        f'no node offers {name} in namespace {node.get_namespace()} within {timeout_s:.1f} s; '
        f'{elsewhere_line(node) or "is bringup running?"}'
    )
