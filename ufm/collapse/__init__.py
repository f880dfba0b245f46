"""Neural-collapse measurements NC1 to NC4 from arrays alone, every published convention named.

One label hides several formulas, so a field carries the name of its source: ``nc1_geo`` is not
``nc1_phd``. ``CONVENTIONS`` says which field is which published number. All arithmetic is float64
NumPy on the host. ``collapse`` takes arrays and forms nothing of size d x d; ``CollapseMetric``
takes batches, once.
"""

from ufm.collapse.measure import collapse
from ufm.collapse.record import CONVENTIONS, Collapse
from ufm.collapse.streaming import CollapseMetric

__all__ = ["CONVENTIONS", "Collapse", "CollapseMetric", "collapse"]
