"""Training, calibration, evaluation and search with logged bags; does not need ROS."""
