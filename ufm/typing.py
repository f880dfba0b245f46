"""The types of the arrays that functions take and return."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
AnyArray = NDArray[Any]
