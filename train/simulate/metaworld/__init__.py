"""MetaWorld: its own scripted experts move a Sawyer arm, and everything else, by physics alone."""
