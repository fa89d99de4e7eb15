"""MFF, which fuses several layers of MAE's encoder (Liu et al., ICCV 2023), as a host of AMT."""

from amt_mm.registry import MODELS  # before mmpretrain: makes torchvision importable

# isort: split
import torch
from mmpretrain.models import MFFViT

from amt_mm.masking import AMTMaskGenerator, take_tokens
from amt_mm.models import AMTMAE, AMTMAEViT, embed_patches


@MODELS.register_module()
class MFFHostViT(AMTMAEViT, MFFViT):
    """MFF's parameters; our MAE's grid, start and forward on whole images; its own `encode`."""

    def encode(self, patches, plan):
        """Embed and encode the visible patches alone, then fuse: (B, 1 + n_visible, D)."""
        tokens = embed_patches(self.patch_embed.projection, take_tokens(patches, plan.visible))
        tokens, rotation = self.enter_blocks(tokens, plan.visible)
        levels = []
        for index, layer in enumerate(self.layers):
            tokens = layer(tokens, *rotation)
            if index in self.out_indices:
                levels.append(tokens)
        fitted = [fit(level) for fit, level in zip(self.proj_layers, levels[:-1], strict=True)]
        shares = self.proj_weights.softmax(dim=0)
        tokens = self.ln1((torch.stack([*fitted, levels[-1]]) * shares).sum(dim=0))
        return self.without_registers(tokens)


@MODELS.register_module()
class MFFHost(AMTMAE):
    """`predict` (the decoder, by ids) and `target` (pixels) are MAE's; the log is MFF's."""

    def loss(self, inputs, data_samples, plan):
        """MAE's loss, and how much each layer weighs."""
        shares = self.backbone.proj_weights.softmax(dim=0).flatten()
        return {**super().loss(inputs, data_samples, plan),
                **{f'weight_{i}': share for i, share in enumerate(shares)}}


if __name__ == '__main__':
    arch = dict(embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=96)
    model = MODELS.build(dict(
        type='amt_mm.MFFHost', neck=dict(type='amt_mm.AMTMAEDecoder'),
        backbone=dict(type='amt_mm.MFFHostViT', arch=arch, img_size=(96, 128), out_indices=[1, 3]),
        head=dict(type='amt_mm.AMTMAEHead', loss=dict(
            type='mmpretrain.PixelReconstructionLoss', criterion='L2'))))
    plan = AMTMaskGenerator()(4, model.backbone.grid, weights=torch.rand(4, 48))
    losses = model(torch.randn(4, 3, 96, 128), mode='loss', plan=plan)
    losses['loss'].backward()
    print(f'{plan.masked.shape[1]} masked, {plan.thrown.shape[1]} thrown, '
          f'{plan.visible.shape[1]} visible; loss {losses["loss"].item():.3f}')
