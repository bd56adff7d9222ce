"""Frozen text towers and their tokenizers: sentences to unit vectors of a language space."""
