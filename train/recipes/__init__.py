"""Training recipes: one readable module each, configured by a file of config/recipes."""
