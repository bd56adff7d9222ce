"""The project's own contact suite: insertion, screwing, filling, rubbing and grasping."""
