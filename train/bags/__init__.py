"""Reading logged bags: messages, and the samples that are cut from them."""

from train.bags.reader import OWN_MESSAGES, BagReport, read_bag

__all__ = ['OWN_MESSAGES', 'BagReport', 'read_bag']
