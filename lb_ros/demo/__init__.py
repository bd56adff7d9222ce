"""The demonstration: plays a bag into running nodes and compares scores with the ground truth."""
