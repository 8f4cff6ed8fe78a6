"""What a result is worth: measures and the tables that score prints."""
