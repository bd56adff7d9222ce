"""Sentences and sensors that models add to the windows of a log."""
