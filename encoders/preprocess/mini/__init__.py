"""Preprocessing of sets trained by this repository, one module per modality."""
