"""A local web page of what the sensors answer: live, of a recorded bag, or of an index."""
