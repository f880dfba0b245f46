"""Neural-collapse measurements NC1 to NC4 from arrays alone, every published convention named.

One label hides several formulas, so a field carries the name of its source: ``nc1_geo`` is not
``nc1_phd``. ``CONVENTIONS`` says which field is which published number. All arithmetic is float64
NumPy on the host; nothing of size d x d is ever formed.
"""

from ufm.collapse.measure import collapse
from ufm.collapse.record import CONVENTIONS, Collapse

__all__ = ["CONVENTIONS", "Collapse", "collapse"]
