"""Random crops and flips of a batch of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from experiments.networks.options import AugmentationOptions
from experiments.networks.training.objective import coins
from ufm.errors import require_count


@dataclass(frozen=True)
class Augmentation(AugmentationOptions):
    """Random changes of the training images; by default none.

    Args:
        crop: zeros put around an image before a window of its size is cut out at random; 4 is
            usual for images of 32 pixels, 0 is off.
        flip: mirror every image left to right with probability 1/2.

    Raises:
        InputError: ``crop`` is no integer >= 0.

    Example:
        >>> x = jnp.arange(4, dtype=jnp.float32).reshape(1, 2, 2, 1)
        >>> bool((Augmentation()(x, jax.random.key(0)) == x).all())
        True
    """

    def __post_init__(self) -> None:
        require_count(self.crop, "crop", 0, "use 0 for no crop, 4 for images of 32 pixels")

    def __call__(self, images: Any, key: Any) -> Any:
        """Images (N, height, width, channels) changed independently of each other."""
        crop_key, flip_key = jax.random.split(key)
        N = images.shape[0]
        if self.crop:
            margin = (self.crop, self.crop)
            padded = jnp.pad(images, ((0, 0), margin, margin, (0, 0)))
            corners = jax.random.randint(crop_key, (N, 2), 0, 2 * self.crop + 1, jnp.int32)

            def window(image: Any, corner: Any) -> Any:
                start = (corner[0], corner[1], jnp.zeros((), jnp.int32))
                return jax.lax.dynamic_slice(image, start, images.shape[1:])

            images = jax.vmap(window)(padded, corners)
        if self.flip:
            mirrored = coins(flip_key, (N, 1, 1, 1), 0.5)
            images = jnp.where(mirrored, images[:, :, ::-1], images)
        return images
