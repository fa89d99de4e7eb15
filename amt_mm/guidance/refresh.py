"""One pass of all processes over whole images, which computes their saliency maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from mmengine.dataset import default_collate
from mmengine.dist import all_gather, all_reduce, get_rank, get_world_size, is_main_process
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from amt_mm.checks import check_choice
from amt_mm.datasets import whole_image_view, with_stand_ins
from amt_mm.errors import InputError
from amt_mm.masking import patch_grid
from amt_mm.models.unwrapped import whole_model
from amt_mm.reliability.stop_signal_hook import stop_point
from amt_mm.saliency import SaliencySource

# Type and scale in which processes exchange maps in [0, 1]: exactly what the file stores.
_CROSSING = {'float16': (torch.float16, 1), 'uint8': (torch.uint8, 255)}
# Number of evenly spaced samples for means over the data set: a standard error of 1/32 of the
# standard deviation, at a thousandth of the cost of a pass over ImageNet-1K.
AVERAGED = 1024


@dataclass(frozen=True)
class Refresh:
    """Settings of a pass over whole images; the defaults are the paper's.

    The arguments are those of :class:`~amt_mm.guidance.SaliencyUpdateHook`, of which ``source``
    gathers several, and ``vit``: the transformer whose attention is computed, by default the
    backbone that is being trained.

    Raises:
        InputError: An invalid value.
    """

    source: SaliencySource = SaliencySource()
    dtype: str = 'float16'
    image_size: int | Sequence[int] | None = None
    precision: str | None = None
    batch_size: int | None = None
    num_workers: int | None = None
    vit: nn.Module | None = None

    def __post_init__(self) -> None:
        for name, known in (('dtype', tuple(_CROSSING)), ('precision', (None, 'fp32', 'bf16'))):
            check_choice(name, getattr(self, name), known)
        for name, least in (('batch_size', 1), ('num_workers', 0)):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < least):
                raise InputError(f'{name}={value!r} must be an integer, at least {least}, or None '
                                 'for that of the training loader')
        if self.size is not None and (len(self.size) != 2 or any(
                type(side) is not int or side < 1 for side in self.size)):
            raise InputError(f'image_size={self.image_size!r} must be an integer for a square, '
                             '(height, width), or None for the size of the crops')

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the whole images, None for those of the crops."""
        if self.image_size is None:
            return None
        return (tuple(self.image_size) if isinstance(self.image_size, Sequence)
                else (self.image_size, self.image_size))

    def grid(self, backbone: nn.Module) -> tuple[int, int]:
        """Return rows and columns of an encoder's maps.

        Raises:
            InputError: ``image_size`` is not a multiple of its patch size.
        """
        if self.size is None:
            return tuple(backbone.grid)
        if any(side % backbone.patch_size for side in self.size):
            raise InputError(f'image_size={self.image_size!r} of the refresh is not a multiple '
                             f'of the patch of {backbone.patch_size} pixels')
        return patch_grid(*self.size, backbone.patch_size)

    def encoder(self, model: nn.Module) -> nn.Module:
        """Return the transformer whose attention is computed."""
        return model.backbone if self.vit is None else self.vit

    def check(self, model: nn.Module, training: DataLoader) -> None:
        """Raise InputError at the start of training for what would fail at the first refresh."""
        self.grid(self.encoder(model))
        self.source.check(self.encoder(model))
        self.images(training)
        device = model.data_preprocessor.device
        if (self.precision == 'bf16' and torch.device(device).type == 'cuda'
                and not torch.cuda.is_bf16_supported(including_emulation=False)):
            raise InputError("precision='bf16' of the refresh: this GPU has no bfloat16; use "
                             "'fp32' or None, as training")

    def images(self, training: DataLoader) -> int:
        """Return the images per forward pass and process, by default the training loader's.

        Raises:
            InputError: Its batch sampler has no ``batch_size``.
        """
        # A loader with a custom batch sampler has no batch_size itself.
        found = (self.batch_size or training.batch_size
                 or getattr(training.batch_sampler, 'batch_size', None))
        if not found:
            raise InputError('the batch sampler of the training loader has no batch_size for the '
                             'refresh: set batch_size of the SaliencyUpdateHook '
                             '(overlay.hooks.saliency.batch_size)')
        return found

    def view(self, dataset: Dataset) -> Dataset:
        """Return the training set as whole images, see :func:`amt_mm.datasets.whole_image_view`."""
        return whole_image_view(dataset, self.size)

    def of_batch(self, model: nn.Module, batch: dict,
                 training: AbstractContextManager | None = None,
                 means: Mapping[str, Tensor] | None = None) -> Tensor:
        """Compute the maps of a batch of whole images.

        Args:
            model: A host; its ``data_preprocessor`` moves the batch to the device.
            batch: Collated items of :meth:`view`.
            training: Autocast of training, used if ``precision`` is None.
            means: See :meth:`means`; needed if ``source.required_means`` has any.

        Returns:
            ``(B, N)`` fp32 in [0, 1], on the device, without gradient.

        Raises:
            InputError: The images do not match the size that the model was built for.
        """
        return self._apply(partial(self.source.maps, means=means), model, batch, training)

    def means(self, runner: Runner, view: Dataset) -> dict[str, Tensor]:
        """Compute the means over the data set that ``source`` needs.

        Each takes one pass of all processes over at most 1,024 evenly spaced samples of the whole
        data set, even if only a part of it is refreshed.

        Returns:
            Name in ``source.required_means`` -> ``(N, D)`` features or ``(N,)`` map, fp32, on the
            device, the same in all processes.
        """
        means = {}
        rows = range(0, len(view), -(-len(view) // AVERAGED))
        for name in self.source.required_means:
            total, count, place = 0.0, 0, get_rank()
            values_of = partial(self.source.values_to_average, name, means=means)
            for model, batch in self._batches(runner, view, rows):
                values, counts = self._apply(values_of, model, batch, _autocast(runner))
                for row, sample in enumerate(batch['data_samples']):
                    # Samples that pad the last shares are counted by another process.
                    if place >= len(rows) or sample.get('unreadable'):
                        counts[row] = False
                    place += get_world_size()
                mask = counts.view(-1, *(1, ) * (values.dim() - 1))
                # In fp64, so that the result does not depend on the number of processes.
                total += torch.where(mask, values, 0).sum(dim=0, dtype=torch.float64)
                count += counts.sum()
            all_reduce(total)
            all_reduce(count)
            means[name] = (total / count.clamp_min(1)).float()
        return means

    def maps(self, runner: Runner, view: Dataset, rows: range) -> Iterator[tuple[Tensor, Tensor]]:
        """Compute maps of some samples with all processes, without drawing random numbers.

        Args:
            runner: Provides the model and the defaults of the training loader and precision.
            view: See :meth:`view`.
            rows: The samples.

        Yields:
            Indices ``(n,)`` int64 and maps ``(n, N)`` fp32 of a batch, on the CPU, the same in all
            processes; each sample once.
        """
        means = self.means(runner, view)
        kind, scale = _CROSSING[self.dtype]
        left = len(rows)
        for model, batch in self._batches(runner, view, rows):
            maps = self.of_batch(model, batch, _autocast(runner), means)
            # Unreadable images get flat maps.
            for row, sample in enumerate(batch['data_samples']):
                if sample.get('unreadable'):
                    maps[row] = 0
            maps = (maps * scale).round().to(kind) if scale != 1 else maps.to(kind)
            index = torch.tensor([sample.sample_idx for sample in batch['data_samples']],
                                 device=maps.device)
            index, maps = _gather_rows(index)[:left], _gather_rows(maps)[:left]
            left -= len(index)
            yield index, maps.float() / scale

    def _apply(self, function: Callable, model: nn.Module, batch: dict,
              training: AbstractContextManager | None) -> Tensor:
        """Return ``function(vit, images)`` of a batch, in the precision of this pass."""
        precision = training or nullcontext()
        if self.precision is not None:
            device = torch.device(model.data_preprocessor.device).type
            precision = torch.autocast(device, torch.bfloat16, enabled=self.precision == 'bf16')
        with torch.no_grad(), precision:
            inputs = model.data_preprocessor(batch)['inputs']
            vit = self.encoder(model)
            found = patch_grid(*inputs.shape[-2:], vit.patch_size)
            if found != self.grid(vit):
                built = model.backbone.grid
                raise InputError(f'the whole images have {found[0]}x{found[1]} patches, the model '
                                 f'was built for {built[0]}x{built[1]}: '
                                 'set model.backbone.img_size to the size of the crops')
            return function(vit, inputs)

    def _batches(self, runner: Runner, view: Dataset, rows: range
                 ) -> Iterator[tuple[nn.Module, dict]]:
        """Yield the model and this process's batches of some samples."""
        training = runner.train_dataloader
        workers = training.num_workers if self.num_workers is None else self.num_workers
        loader = DataLoader(
            with_stand_ins(view, training.dataset, workers), sampler=_Share(rows),
            batch_size=self.images(training), num_workers=workers,
            timeout=training.timeout if workers else 0, collate_fn=default_collate,
            pin_memory=training.pin_memory,
            # Without it the loader would draw its base seed from training's random stream.
            generator=torch.Generator())
        left = len(rows)
        with whole_model(runner) as model, tqdm(
                total=left, desc='saliency', unit='image', leave=False,
                disable=None if is_main_process() else True) as bar:
            for batch in loader:
                stop_point(runner)
                yield model, batch
                done = min(left, len(batch['data_samples']) * get_world_size())
                left -= done
                bar.update(done)


class _Share(Sampler):
    """Every k-th sample for each of k processes; the first ones pad the last shares."""

    def __init__(self, rows: range) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / get_world_size())

    def __iter__(self) -> Iterator[int]:
        for turn in range(len(self)):
            yield self.rows[(turn * get_world_size() + get_rank()) % len(self.rows)]


def _gather_rows(part: Tensor) -> Tensor:
    """Return the rows of all processes in the order of the samples, padding last."""
    return torch.stack(all_gather(part.contiguous()), dim=1).flatten(0, 1).cpu()


def _autocast(runner: Runner) -> AbstractContextManager:
    """Return the autocast context of training."""
    return runner.optim_wrapper.optim_context(runner.model)
