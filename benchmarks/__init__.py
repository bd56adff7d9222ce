"""Measurements; each writes a file of results with machine, versions and command."""
