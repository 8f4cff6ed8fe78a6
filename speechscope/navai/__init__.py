"""Normalized averaging of aligned inputs: what inputs answered alike have in common."""
