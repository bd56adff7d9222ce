"""Presses of predicates from labelled bags (`lb-ros teach --data`)."""
