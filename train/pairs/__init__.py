"""Bags to language pairs: the sensor data of time windows with sentences that describe them."""
