"""Training steps of several methods and sizes, each at the largest batch that memory allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from amt_mm.engine.compiling import compile_host
from lab.benchmark.contestant import Contestant
from lab.benchmark.memory import peak_memory
from lab.benchmark.racing import Race, race

from .check import release

REFERENCE = "mmpretrain's MAE"
ROOT = Path(__file__).parents[2]
# Name -> config at ViT-B or ViT-S, batch size to begin with, whether it can be compiled.
METHODS = {
    REFERENCE: ('mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py', 512, False),
    'MAE': (ROOT / 'configs/mae/mae-random_vit-base-p16_8xb512-amp-coslr-400e_in1k.py', 512, True),
    'MAE + AMT': (
        ROOT / 'configs/mae/mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k.py', 512, True),
    'SimMIM': (
        ROOT / 'configs/simmim/simmim_vit-base-p16_8xb256-amp-coslr-200e_in1k.py', 256, True),
    'iBOT': (
        ROOT / 'configs/attmask/ibot-block_vit-small-p16_4xb60-amp-coslr-100e_in1k.py', 128, False),
}
_DECODER = dict(neck=dict(decoder_embed_dim=24, decoder_depth=1, decoder_num_heads=3))
# Name -> what models of this size have: under None all, and under a method's name it alone.
SIZES = {
    'ViT-B': {None: dict(backbone=dict(arch='base')), REFERENCE: dict(neck=dict(embed_dim=768))},
    'ViT-S': {None: dict(backbone=dict(arch='deit-small')),
              REFERENCE: dict(neck=dict(embed_dim=384))},
    'ViT-L': {None: dict(backbone=dict(arch='large')), REFERENCE: dict(neck=dict(embed_dim=1024))},
}
TOY = {'toy': {
    None: dict(backbone=dict(arch=dict(_delete_=True, embed_dims=24, num_layers=1, num_heads=3,
                                       feedforward_channels=48))),
    REFERENCE: dict(neck=dict(embed_dim=24, **_DECODER['neck'])),
    'MAE': _DECODER, 'MAE + AMT': _DECODER,
    'iBOT': dict(head=dict(out_channels=64, hidden_channels=32, bottleneck_channels=16))}}
PRECISIONS = ('bf16', 'fp32', 'compiled')


@dataclass
class Steps:
    """Measures steps, and keeps the speed of the reference to compare with.

    Attributes:
        images: Folder of images.
        scratch: Folder for configs and artificial maps.
        sizes: As :data:`SIZES`.
        rounds: Measured steps.
        batch_size: Largest batch to try.
        product: Side of the matrices whose product is the peak; None for the device's own.
        speeds: Images a second by size, method and precision, of what was measured.
    """

    images: Path
    scratch: Path
    sizes: Mapping[str, Mapping[str | None, dict]]
    rounds: int
    batch_size: int
    product: int | None = None
    speeds: dict[tuple[str, str, str], float] = field(default_factory=dict)

    def config(self, size: str, method: str) -> str:
        """Write the config of a method with a backbone of another size; return its path."""
        base, _, _ = METHODS[method]
        settings = self.sizes[size]
        model = {**settings[None], **settings.get(method, {})}
        path = self.scratch / f'{size}-{method.replace(" ", "")}.py'
        path.write_text(f'_base_ = {str(base)!r}\nmodel = {model!r}\n')
        return str(path)

    def measure(self, size: str, method: str, precision: str) -> dict:
        """Measure one method: cells of the table.

        Args:
            size: Of :attr:`sizes`.
            method: Of :data:`METHODS`.
            precision: ``'fp32'``, ``'bf16'``, or ``'compiled'`` in bf16.
        """
        batch = min(METHODS[method][1], self.batch_size)
        while (found := self._try(self.config(size, method), batch, precision)) is None:
            release()
            if batch == 1:
                raise MemoryError('one image is too many')
            batch //= 2
        contestant, outcome, memory = found
        seconds = float(np.median(outcome.step))
        speed = self.speeds[size, method, precision] = contestant.batch_size / seconds
        reference = self.speeds.get((size, REFERENCE, 'fp32' if precision == 'fp32' else 'bf16'))
        peak = contestant.multiply_adds and 100 * outcome.share_of_peak(
            0, contestant.multiply_adds * contestant.batch_size)
        return dict(batch=contestant.batch_size, images=speed, ms=1000 * seconds,
                    ratio=reference and speed / reference, peak=peak, memory=memory / 1e9)

    def _try(self, config: str, batch_size: int, precision: str
             ) -> tuple[Contestant, Race, int] | None:
        """Measure at one batch size; None if memory is too small for it."""
        bf16 = precision != 'fp32'
        try:
            contestant = Contestant(config, batch_size, self.images, self.scratch, bf16=bf16)
            if precision == 'compiled':
                compile_host(contestant.model, True)
            outcome = race([contestant], self.rounds, bf16=bf16, side=self.product)
            return contestant, outcome, peak_memory(contestant)
        except torch.OutOfMemoryError:
            return None
