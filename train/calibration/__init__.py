"""Fitting of probabilities and thresholds from labelled bags."""
