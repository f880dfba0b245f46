"""Every diagram of the lab: a record of numbers and a pure function (record, ax) -> Axes.

No function here saves a file or makes a figure, so a diagram goes into any layout:

    fig, ax = plt.subplots()
    draw_ladder(ladder_points(atlas(model), d), ax)

The records hold NumPy arrays and can be made, kept and redrawn apart from the drawing.
"""

from landscape.plots.descent import DescentRecord, descent_record, draw_descent
from landscape.plots.ladder import LadderPoint, draw_ladder, ladder_points
from landscape.plots.slice import SliceRecord, draw_slice_line, draw_slice_plane, slice_record
from landscape.plots.spectrum import SpectrumRecord, draw_spectrum, spectrum_record
from landscape.plots.style import LOSS_COLOURS, loss_colour, loss_label, style
from landscape.plots.transition import TransitionRecord, draw_transition, transition_record
from landscape.plots.window import WindowRecord, draw_window, window_record

__all__ = [
    "LOSS_COLOURS",
    "DescentRecord",
    "LadderPoint",
    "SliceRecord",
    "SpectrumRecord",
    "TransitionRecord",
    "WindowRecord",
    "descent_record",
    "draw_descent",
    "draw_ladder",
    "draw_slice_line",
    "draw_slice_plane",
    "draw_spectrum",
    "draw_transition",
    "draw_window",
    "ladder_points",
    "loss_colour",
    "loss_label",
    "slice_record",
    "spectrum_record",
    "style",
    "transition_record",
    "window_record",
]
