"""Clusters of what layers hold, and what the clusters are of (Pellegrini 2016)."""
