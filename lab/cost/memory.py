"""Memory of a training step, counted on small copies of the network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from mmengine.config import Config
from mmpretrain.models import VisionTransformer
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from amt_mm.models import Host


@dataclass(frozen=True)
class Memory:
    """Bytes of a training step of a host in its random phase, which has the most tokens.

    Attributes:
        parameters: Number of parameters (not bytes).
        copies: Weights in autocast's precision, kept for the backward pass.
        image: Activations per image, kept for the backward pass.
        block: The largest share of one block in ``image`` (``with_cp`` recomputes it); with
            ``cls_loss_weight`` the decoder's counts twice, if passes run one at a time.
    """

    parameters: int
    copies: int
    image: int
    block: int

    def state(self, processes: int = 1) -> int:
        """fp32 weights, gradients and AdamW's two moments, these shared by ``processes``."""
        return self.parameters * 8 + self.parameters * 8 // processes


def memory_of(cfg: Config, bf16: bool = True) -> Memory:
    """Count the tensors that autograd keeps, with one and with two blocks.

    Every further block keeps as much as the second, so small networks suffice. Counted on the CPU;
    autocast on a GPU uses other precisions for a few operations.

    Args:
        cfg: Config after its overlay, of a :class:`~amt_mm.models.Host`.
        bf16: Whether forward passes run under autocast to bfloat16.
    """
    with torch.device('meta'):
        model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    depth = len(model.backbone.layers)
    decoder_depth = len(getattr(model.neck, 'decoder_blocks', [None]))
    one = _kept(cfg, 1, 1, bf16)
    two = _kept(cfg, 2, 1, bf16)
    encoder = [b - a for a, b in zip(one, two, strict=True)]
    decoder = [b - a for a, b in zip(one, _kept(cfg, 1, 2, bf16), strict=True)]
    whole = [a + (depth - 1) * e + (decoder_depth - 1) * d
             for a, e, d in zip(one, encoder, decoder, strict=True)]
    return Memory(sum(p.numel() for p in model.parameters()), *whole,
                  block=max(encoder[1], decoder[1]))


def _kept(cfg: Config, depth: int, decoder_depth: int, bf16: bool) -> list[int]:
    """Bytes kept regardless of the batch, and per image."""
    small = copy.deepcopy(cfg.model)
    arch = small.backbone.get('arch', 'base')
    arch = VisionTransformer.arch_zoo[arch] if isinstance(arch, str) else arch
    small.backbone.arch = {**arch, 'num_layers': depth}
    if small.neck.type == 'amt_mm.AMTMAEDecoder':
        small.neck.decoder_depth = decoder_depth
    model = MODELS.build({**small, 'data_preprocessor': cfg.data_preprocessor}).train()
    first, second = (_bytes_of_step(model, batch, bf16) for batch in (1, 2))
    return [2 * first - second, second - first]


def _bytes_of_step(model: Host, batch: int, bf16: bool) -> int:
    plan = model.data_preprocessor.mask_generator(batch, model.backbone.grid)
    images = torch.zeros(batch, 3, *model.backbone.img_size)

    def forward() -> Tensor:
        with torch.autocast('cpu', torch.bfloat16, enabled=bf16):
            return model.parse_losses(model.losses(images, plan))[0]

    return kept_bytes(model, forward)


def kept_bytes(model: nn.Module, forward: Callable[[], Tensor]) -> int:
    """Bytes that a forward pass keeps for the backward pass, without weights.

    Args:
        model: Its weights do not count.
        forward: Computes the loss.
    """
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = forward()
    assert loss.requires_grad
    return sum(size for address, (size, _) in kept.items() if address not in weights)
