"""What in an input a network answers to: relevance, and inputs that excite a unit most."""
