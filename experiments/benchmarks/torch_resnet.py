"""ResNet-18 as PyTorch code has it, with the parameters of one of ours."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.networks.architectures import Network

Array = np.ndarray[Any, Any]


def torch_resnet18(torch: Any, network: Network) -> Any:
    """The same network in PyTorch, with copies of all parameters and running statistics.

    Args:
        torch: the package.
        network: a ResNet-18 of ours with features behind a ReLU.
    """
    nn = torch.nn

    def convolution(ours: Any) -> Any:
        size, _, inputs, outputs = ours.weight.shape
        margin = (size - 1) // 2
        return nn.Conv2d(inputs, outputs, size, ours.stride, margin, bias=False)

    def normed(conv: Any, norm: Any) -> Any:
        return nn.Sequential(convolution(conv), nn.BatchNorm2d(norm.scale.shape[0]))

    class Block(nn.Module):  # type: ignore[name-defined]
        def __init__(self, ours: Any) -> None:
            super().__init__()
            self.first = normed(ours.first, ours.first_norm)
            self.second = normed(ours.second, ours.second_norm)
            own = ours.shortcut is not None
            self.shortcut = normed(ours.shortcut, ours.shortcut_norm) if own else nn.Identity()

        def forward(self, x: Any) -> Any:
            return torch.relu(self.shortcut(x) + self.second(torch.relu(self.first(x))))

    body, (K, d) = network.body, network.head.W.shape
    made = nn.Sequential(
        normed(body.stem, body.stem_norm),
        nn.ReLU(),
        *(Block(block) for block in body.blocks),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(d, K),
    )
    with torch.no_grad():
        for theirs, ours in zip(tensors_of(torch, made), arrays_of(network), strict=True):
            theirs.copy_(torch.from_numpy(np.array(ours, order="C")))
    return made


def arrays_of(network: Network) -> list[Array]:
    """Parameters and running statistics, layer by layer, in the layouts of PyTorch."""
    body, head, (stem, *states) = network.body, network.head, network.state
    found = [(body.stem, body.stem_norm, stem[0])]
    for block, state in zip(body.blocks, states, strict=True):
        convs = [block.first, block.second, block.shortcut]
        norms = [block.first_norm, block.second_norm, block.shortcut_norm]
        # One state fewer where there is no shortcut of its own.
        found += zip(convs, norms, state, strict=False)
    layers = [
        (np.transpose(conv.weight, (3, 2, 0, 1)), norm.scale, norm.shift, *running)
        for conv, norm, running in found
    ]
    return [np.asarray(x) for layer in layers for x in layer] + [
        np.asarray(head.W),
        np.asarray(head.b),
    ]


def arrays_of_torch(torch: Any, made: Any) -> list[Array]:
    """The same of a network that ``torch_resnet18`` made."""
    return [x.detach().cpu().numpy().copy() for x in tensors_of(torch, made)]


def tensors_of(torch: Any, made: Any) -> list[Any]:
    """Its tensors, in the order of ``arrays_of``; statistics need no gradient."""
    found = []
    for layer in made.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            found += [layer.weight, layer.bias, layer.running_mean, layer.running_var]
        elif isinstance(layer, torch.nn.Conv2d):
            found.append(layer.weight)
        elif isinstance(layer, torch.nn.Linear):
            found += [layer.weight, layer.bias]
    return found
