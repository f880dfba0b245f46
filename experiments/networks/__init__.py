"""Real networks on real images, held against the theory."""
