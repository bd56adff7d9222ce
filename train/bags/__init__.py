"""Reading of logged bags: their messages, and the labelled samples extracted from them."""

from train.bags.reader import OWN_MESSAGES, BagReport, read_bag

__all__ = ['OWN_MESSAGES', 'BagReport', 'read_bag']
