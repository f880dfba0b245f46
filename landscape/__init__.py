"""Critical points of a model and their curvature: find them, judge them, list them, follow them.

``flows``, ``branches`` and ``plots`` are packages of their own, imported at first use.
"""

import importlib
from typing import Any

from landscape.atlas import Atlas, Orbit, Status, atlas, symmetric_atlas
from landscape.curvature.count import CurvatureCount, count_curvature
from landscape.curvature.density import Density, DensityResult, spectral_density
from landscape.curvature.escape import Escape, escape_direction
from landscape.curvature.hessian import dense_hessian, taylor_orders
from landscape.curvature.lanczos import Eigenpairs, LanczosResult, hessian_eigenvalues, lanczos
from landscape.curvature.operators import Operator, as_operator, hessian_operator
from landscape.solvers.minimise import Minimised, minimise_many
from landscape.solvers.newton import narrowed, polished
from landscape.solvers.result import Result, Solution
from landscape.solvers.sharded import solve_sharded
from landscape.solvers.solve import solve
from landscape.verdict import Curvature, Globality, Verdict, judge_curvature, verdict

LATER = ("branches", "flows", "plots")

__all__ = [
    "Atlas",
    "Curvature",
    "CurvatureCount",
    "Density",
    "DensityResult",
    "Eigenpairs",
    "Escape",
    "Globality",
    "LanczosResult",
    "Minimised",
    "Operator",
    "Orbit",
    "Result",
    "Solution",
    "Status",
    "Verdict",
    "as_operator",
    "atlas",
    "branches",
    "count_curvature",
    "dense_hessian",
    "escape_direction",
    "flows",
    "hessian_eigenvalues",
    "hessian_operator",
    "judge_curvature",
    "lanczos",
    "minimise_many",
    "narrowed",
    "plots",
    "polished",
    "solve",
    "solve_sharded",
    "spectral_density",
    "symmetric_atlas",
    "taylor_orders",
    "verdict",
]


def __getattr__(name: str) -> Any:
    if name in LATER:
        return importlib.import_module(f"landscape.{name}")
    raise AttributeError(f"module 'landscape' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *LATER]
