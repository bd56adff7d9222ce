"""Predicates: texts, scores, calibrated probabilities, fused evidence and states."""
