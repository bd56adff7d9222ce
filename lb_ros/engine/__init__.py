"""What encodes: slots, worker, limits, memory policy and health. Knows no ROS."""
