"""A local web page with scores of a running robot, a recorded bag, or an index."""
