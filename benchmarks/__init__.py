"""Benchmarks; each writes a result file with machine, versions and command."""
