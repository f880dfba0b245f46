"""Critical points and curvature of any model: solvers, Hessians, Lanczos, inertia, verdicts."""
