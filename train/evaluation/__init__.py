"""Measuring model sets on labelled bags and on pairs, and the reports about it."""
