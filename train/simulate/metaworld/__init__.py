"""MetaWorld: its scripted experts move a Sawyer arm; all motion is simulated by physics."""
