"""The other models, one to a file."""
