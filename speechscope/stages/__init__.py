"""The stages: one file a command."""
