"""Bags to language pairs, binding, calibration and evaluation; needs no ROS."""
