"""Representations of a speech signal: what the networks see."""
