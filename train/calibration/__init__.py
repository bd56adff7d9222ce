"""Fitting probabilities and thresholds from labelled bags."""
