"""What was true at a moment, as ground truth messages say it."""

from __future__ import annotations

from train.bags.reader import BagMessage, BagReport


def facts_of(message: BagMessage, report: BagReport) -> dict[str, bool] | None:
    """Predicates and whether they hold; None, reported, where the message does not say.

    Args:
        message: Of the truth topic; people name other things so as well.
        report: Counts messages that cannot be used.
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
