"""Corpora: their layouts, phone sets and labels, and the prepared artifact."""
