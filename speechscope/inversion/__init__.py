"""Reconstructing a network's input from the activations of one layer (Churchman 2015, sec. 6)."""
