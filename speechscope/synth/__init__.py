"""The demonstration corpus, spoken by Praat's synthesizer."""
