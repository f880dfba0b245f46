"""What theory says of every cell: the laws, where they apply, and their curves."""
