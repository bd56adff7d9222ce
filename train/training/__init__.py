"""Training: one loop, objectives, and the recipes that configure them."""
