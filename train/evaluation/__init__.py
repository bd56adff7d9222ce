"""Evaluation of model sets on labelled bags and on pairs, and reports of the results."""
