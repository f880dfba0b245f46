"""The atlas: every critical point of a model modulo symmetry, and whether the list is complete."""

from landscape.atlas.agreement import Agreement, compare
from landscape.atlas.checksum import (
    Defect,
    MorseBott,
    Stratum,
    balanced_mse_strata,
    defects,
    euler_sum,
    missing_mass,
    missing_mass_bound,
    morse_bott,
    mse_strata,
)
from landscape.atlas.explore import atlas
from landscape.atlas.labels import label
from landscape.atlas.orbit import Orbit, describe
from landscape.atlas.pairing import Unpaired, unpaired
from landscape.atlas.record import Atlas, Round, Status, highest_rank
from landscape.atlas.search import Failure, Found, Harvest, search
from landscape.atlas.squared_error import squared_error_atlas
from landscape.atlas.symmetric import symmetric_atlas
from ufm.plain.relabelling import (
    distinct,
    invariant,
    matching,
    orbit_size,
    same_orbit,
    stabiliser_order,
)

__all__ = [
    "Agreement",
    "Atlas",
    "Defect",
    "Failure",
    "Found",
    "Harvest",
    "MorseBott",
    "Orbit",
    "Round",
    "Status",
    "Stratum",
    "Unpaired",
    "atlas",
    "balanced_mse_strata",
    "compare",
    "defects",
    "describe",
    "distinct",
    "euler_sum",
    "highest_rank",
    "invariant",
    "label",
    "matching",
    "missing_mass",
    "missing_mass_bound",
    "morse_bott",
    "mse_strata",
    "orbit_size",
    "same_orbit",
    "search",
    "squared_error_atlas",
    "stabiliser_order",
    "symmetric_atlas",
    "unpaired",
]
