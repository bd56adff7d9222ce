"""Bags to language pairs: what sensors recorded in windows of time, and what is said of them."""
