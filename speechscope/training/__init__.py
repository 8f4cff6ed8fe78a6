"""Training classifiers and decoders."""
