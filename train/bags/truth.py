"""Ground truth from the truth messages of a bag."""

from __future__ import annotations

from train.bags.reader import BagMessage, BagReport


def facts_of(message: BagMessage, report: BagReport) -> dict[str, bool] | None:
    """Predicates with their truth; None, which is reported, if the message is not ground truth.

    Args:
        message: Message of the truth topic; other software may use that topic name as well.
        report: Counts unusable messages.
    """
    names = getattr(message.message, 'predicates', None)
    values = getattr(message.message, 'values', None)
    if names is None or values is None:
        reason = f'{message.type_name} holds no truths, expected lb_ros/msg/PredicateTruth'
        report.skipped(message.topic, reason)
        return None
    if len(names) != len(values):
        report.skipped(message.topic, f'{len(names)} predicates with {len(values)} values')
        return None
    return {str(name): bool(value) for name, value in zip(names, values, strict=True)}
