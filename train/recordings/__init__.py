"""Labelled recordings that are no bags: NumPy, CSV, HDF5 and LeRobot, described by a YAML file."""
