"""Helpers over rclpy: QoS, stamps, executor, lifecycle, parameters, diagnostics, messages."""
