"""Search for moments in many bags by sentence or by example."""
