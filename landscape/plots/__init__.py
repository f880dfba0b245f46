"""Every diagram of the lab: a record of numbers and a pure function (record, ax) -> Axes.

No function here saves a file or makes a figure, so a diagram goes into any layout:

    fig, ax = plt.subplots()
    draw_ladder(ladder_points(atlas(model), d), ax)

The records hold NumPy arrays and can be made, kept and redrawn apart from the drawing.
"""

from landscape.plots.along_decay import DecayRecord, decay_record, draw_along_decay
from landscape.plots.angles import cosines, draw_cosines
from landscape.plots.animation import descent_film
from landscape.plots.arrangements import draw_arrangements
from landscape.plots.bifurcation import draw_bifurcation
from landscape.plots.central_path import draw_central_path
from landscape.plots.coverage import draw_coverage
from landscape.plots.descent import DescentRecord, descent_record, draw_descent
from landscape.plots.disconnectivity import draw_disconnectivity
from landscape.plots.geometry import Geometry, draw_geometry, geometry
from landscape.plots.gram import canonical_order, draw_gram, draw_gram_sheet
from landscape.plots.ladder import LadderPoint, draw_ladder, ladder_points
from landscape.plots.pathway import draw_pathway
from landscape.plots.plane import PlaneRecord, draw_plane, draw_surface, plane_record
from landscape.plots.slice import (
    SliceRecord,
    draw_slice_line,
    draw_slice_plane,
    orbit_slice,
    slice_record,
)
from landscape.plots.spectrum import SpectrumRecord, draw_spectrum, spectrum_record
from landscape.plots.spectrum_strips import Strip, draw_strips, strips
from landscape.plots.staircase import draw_staircase
from landscape.plots.style import LOSS_COLOURS, loss_colour, loss_label, style
from landscape.plots.transition import TransitionRecord, draw_transition, transition_record
from landscape.plots.window import WindowRecord, draw_window, window_record

__all__ = [
    "LOSS_COLOURS",
    "DecayRecord",
    "DescentRecord",
    "Geometry",
    "LadderPoint",
    "PlaneRecord",
    "SliceRecord",
    "SpectrumRecord",
    "Strip",
    "TransitionRecord",
    "WindowRecord",
    "canonical_order",
    "cosines",
    "decay_record",
    "descent_film",
    "descent_record",
    "draw_along_decay",
    "draw_arrangements",
    "draw_bifurcation",
    "draw_central_path",
    "draw_cosines",
    "draw_coverage",
    "draw_descent",
    "draw_disconnectivity",
    "draw_geometry",
    "draw_gram",
    "draw_gram_sheet",
    "draw_ladder",
    "draw_pathway",
    "draw_plane",
    "draw_slice_line",
    "draw_slice_plane",
    "draw_spectrum",
    "draw_staircase",
    "draw_strips",
    "draw_surface",
    "draw_transition",
    "draw_window",
    "geometry",
    "ladder_points",
    "loss_colour",
    "loss_label",
    "orbit_slice",
    "plane_record",
    "slice_record",
    "spectrum_record",
    "strips",
    "style",
    "transition_record",
    "window_record",
]
