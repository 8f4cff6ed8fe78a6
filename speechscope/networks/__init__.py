"""Classifiers as tables, the layers that run them, and the decoders that invert them."""
