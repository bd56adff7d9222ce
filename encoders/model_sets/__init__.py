"""Model sets: manifests, weight files, sources, and the `Binder` that runs them."""
