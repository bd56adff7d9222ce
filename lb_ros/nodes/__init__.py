"""The nodes and their services."""
