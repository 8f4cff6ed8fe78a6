"""Pictures of what the artifacts hold."""
