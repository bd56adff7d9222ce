"""Reading logged bags: messages, and the samples that are cut from them."""

from train.bags.reader import BagReport, read_bag

__all__ = ['BagReport', 'read_bag']
