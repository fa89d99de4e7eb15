"""DistillationHead: projection in which DINO and iBOT compare student and teacher."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from amt_mm.registry import MODELS

from .distillation_loss import at_least_fp32


@MODELS.register_module()
class DistillationHead(BaseModule):
    """MLP, L2 normalisation, then a weight-normalised linear layer (DINO, 3.1; iBOT, 3.2).

    [CLS] and patches share one head.

    Args:
        in_channels: Width of the encoder's tokens.
        out_channels: Number of prototypes K. Defaults to 8192, as in iBOT and AttMask.
        hidden_channels: Width of the MLP. Defaults to 2048.
        bottleneck_channels: Width before the last layer. Defaults to 256.
        num_layers: Layers of the MLP, at least 2. Defaults to 3.
        train_gain: Whether the norms of the last layer's rows, initially 1, are trained. Defaults
            to True, as in iBOT and AttMask; DINO uses False for its larger encoders.
        init_cfg: See :class:`mmengine.model.BaseModule`.
    """

    def __init__(self, in_channels: int, out_channels: int = 8192, hidden_channels: int = 2048,
                 bottleneck_channels: int = 256, num_layers: int = 3, train_gain: bool = True,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), bottleneck_channels]
        layers: list[nn.Module] = []
        for inputs, outputs in zip(widths, widths[1:], strict=False):
            layers += [nn.Linear(inputs, outputs), nn.GELU()]
        self.mlp = nn.Sequential(*layers[:-1])
        self.last_layer = weight_norm(nn.Linear(bottleneck_channels, out_channels, bias=False))
        self.gain.requires_grad = train_gain

    @property
    def gain(self) -> nn.Parameter:
        """Norms of the last layer's rows, ``(K, 1)``."""
        return self.last_layer.parametrizations.weight.original0

    def init_weights(self) -> None:
        """Initialise the MLP with a truncated normal (std .02), biases with 0, the gain with 1."""
        super().init_weights()
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        nn.init.ones_(self.gain)

    def forward(self, tokens: Tensor) -> Tensor:
        """Compute the logits of tokens, ``(..., D)`` to ``(..., K)``."""
        return self.last_layer(self.project(tokens))

    def project(self, tokens: Tensor) -> Tensor:
        """Compute the input of the last layer: ``(..., D)`` to ``(..., bottleneck)``, of norm 1."""
        tokens = self.mlp(tokens)
        # In fp32, because the square of a norm may overflow in half precision.
        with torch.autocast(tokens.device.type, enabled=False):
            return F.normalize(at_least_fp32(tokens), dim=-1)
