"""From a start to a minimum or a critical point: one method to a file."""
