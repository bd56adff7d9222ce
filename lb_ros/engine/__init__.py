"""The encoding engine: slots, worker, limits, memory policy and health. Independent of ROS."""
