"""The curvature at a point: Hessians, Lanczos, and what they decide."""
