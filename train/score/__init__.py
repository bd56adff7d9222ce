"""Scoring of logged bags as in the live nodes: windows, encoders, predicate bank and trackers."""
