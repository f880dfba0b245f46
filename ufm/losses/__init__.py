"""Classification losses on (logits, label), with the properties that the theory needs of them."""

from ufm.losses.adjusted import (
    AdjustedCrossEntropy,
    FromCounts,
    class_weighted,
    ldam,
    logit_adjusted,
    vector_scaling,
)
from ufm.losses.bce import BCE
from ufm.losses.cross_entropy import CrossEntropy, LabelSmoothing
from ufm.losses.dual import Dual, QuadraticDual, SimplexDual
from ufm.losses.focal import Focal
from ufm.losses.loss import Fact, Loss, Properties
from ufm.losses.scaled import Scaled
from ufm.losses.squared import MSE, RescaledMSE
from ufm.losses.user import UserLoss, as_loss

__all__ = [
    "BCE",
    "MSE",
    "AdjustedCrossEntropy",
    "CrossEntropy",
    "Dual",
    "Fact",
    "Focal",
    "FromCounts",
    "LabelSmoothing",
    "Loss",
    "Properties",
    "QuadraticDual",
    "RescaledMSE",
    "Scaled",
    "SimplexDual",
    "UserLoss",
    "as_loss",
    "class_weighted",
    "ldam",
    "logit_adjusted",
    "vector_scaling",
]
