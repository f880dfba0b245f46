"""Classification losses on (logits, label), with the properties that the theory needs of them."""

from ufm.losses.cross_entropy import CrossEntropy, LabelSmoothing
from ufm.losses.dual import Dual, QuadraticDual, SimplexDual
from ufm.losses.focal import Focal
from ufm.losses.loss import Fact, Loss, Properties
from ufm.losses.scaled import Scaled
from ufm.losses.squared import MSE, RescaledMSE
from ufm.losses.user import UserLoss, as_loss

__all__ = [
    "MSE",
    "CrossEntropy",
    "Dual",
    "Fact",
    "Focal",
    "LabelSmoothing",
    "Loss",
    "Properties",
    "QuadraticDual",
    "RescaledMSE",
    "Scaled",
    "SimplexDual",
    "UserLoss",
    "as_loss",
]
