"""The artifact: a file format that is complete, checked and knows its parents."""
