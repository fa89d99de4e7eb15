"""One pass over whole images: what the encoder attends to in each, from all processes."""

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

from amt_mm.datasets import whole_image_view, with_stand_ins
from amt_mm.errors import InputError
from amt_mm.masking import patch_grid
from amt_mm.models.unwrapped import whole_model
from amt_mm.reliability.stop_signal_hook import stop_point
from amt_mm.saliency import SaliencySource

# As what a map in [0, 1] crosses between processes: what the file keeps of it, and no more.
_CROSSING = {'float16': (torch.float16, 1), 'uint8': (torch.uint8, 255)}
# Means over the data set are taken of so many samples, spread evenly: their standard error is a
# thirty-second of the spread, at a thousandth of the cost of looking at ImageNet-1K once more.
AVERAGED = 1024


@dataclass(frozen=True)
class Refresh:
    """How a pass over whole images is made; the defaults are the paper's.

    Args:
        source: What of the encoder becomes a map.
        dtype: Type of the stored maps, ``'float16'`` or ``'uint8'``.
        image_size: Height and width of the whole images, one number for a square. Defaults
            to None: as the crops.
        precision: ``'fp32'``, ``'bf16'`` (autocast; the softmax stays fp32) or, by default,
            None: as training.
        batch_size: Images a forward pass and process. Defaults to the training loader's.
        num_workers: Loading processes. Defaults to the training loader's.

    Raises:
        InputError: A value that is none of these.
    """

    source: SaliencySource = SaliencySource()
    dtype: str = 'float16'
    image_size: int | Sequence[int] | None = None
    precision: str | None = None
    batch_size: int | None = None
    num_workers: int | None = None

    def __post_init__(self) -> None:
        for name, known in (('dtype', tuple(_CROSSING)), ('precision', (None, 'fp32', 'bf16'))):
            if getattr(self, name) not in known:
                raise InputError(f'{name}={getattr(self, name)!r} is unknown: use one of '
                                 f'{", ".join(map(repr, known))}')
        for name, least in (('batch_size', 1), ('num_workers', 0)):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < least):
                raise InputError(f'{name}={value!r}: give a whole number from {least} on, or None '
                                 'for that of the training loader')
        if self.size is not None and (len(self.size) != 2 or any(
                type(side) is not int or side < 1 for side in self.size)):
            raise InputError(f'image_size={self.image_size!r}: give one number for a square, '
                             '(height, width), or None for the size of the crops')

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the whole images, None for those of the crops."""
        given = self.image_size
        return given if given is None else tuple(given) if isinstance(given, Sequence) else (
            given, given)

    def grid(self, backbone: nn.Module) -> tuple[int, int]:
        """Rows and columns of the maps of an encoder.

        Raises:
            InputError: Its patch does not divide ``image_size``.
        """
        if self.size is None:
            return tuple(backbone.grid)
        if any(side % backbone.patch_size for side in self.size):
            raise InputError(f'image_size={self.image_size!r} of the refresh is no multiple of '
                             f'the patch of {backbone.patch_size} pixels')
        return patch_grid(*self.size, backbone.patch_size)

    def check(self, model: nn.Module, training: DataLoader) -> None:
        """Refuse at the start of training what would fail at the first refresh.

        Raises:
            InputError: An image size, a source or a precision that the model or its device
                cannot do; no batch size.
        """
        self.grid(model.backbone)
        self.source.check(model.backbone)
        self.images(training)
        device = model.data_preprocessor.device
        if (self.precision == 'bf16' and torch.device(device).type == 'cuda'
                and not torch.cuda.is_bf16_supported(including_emulation=False)):
            raise InputError("precision='bf16' of the refresh: this GPU has no bfloat16; use "
                             "'fp32' or None, as training")

    def images(self, training: DataLoader) -> int:
        """Images a forward pass and process.

        Args:
            training: The training loader, which decides where nothing else is said.

        Raises:
            InputError: Nothing is said, and its batch sampler knows no ``batch_size``.
        """
        # A loader with a batch sampler of its own has none.
        found = (self.batch_size or training.batch_size
                 or getattr(training.batch_sampler, 'batch_size', None))
        if not found:
            raise InputError('the batch sampler of the training loader does not say how many '
                             'images a refresh should take at once: set batch_size of the '
                             'SaliencyUpdateHook (overlay.hooks.saliency.batch_size)')
        return found

    def view(self, dataset: Dataset) -> Dataset:
        """The training set seen whole, see :func:`amt_mm.datasets.whole_image_view`."""
        return whole_image_view(dataset, self.size)

    def of_batch(self, model: nn.Module, batch: dict,
                 training: AbstractContextManager | None = None,
                 means: Mapping[str, Tensor] | None = None) -> Tensor:
        """Maps of some whole images.

        Args:
            model: A host; its ``data_preprocessor`` brings the batch to the device.
            batch: Collated items of :meth:`view`.
            training: Autocast of training, for a ``precision`` of None.
            means: See :meth:`means`; needed where ``source`` has any.

        Returns:
            ``(B, N)`` fp32 in [0, 1], on the device, without gradient.

        Raises:
            InputError: The crops are of another size than the model was made for.
        """
        return self._look(partial(self.source.maps, means=means), model, batch, training)

    def means(self, runner: Runner, view: Dataset) -> dict[str, Tensor]:
        """Means over the data set that maps need, from at most 1,024 samples spread evenly.

        A pass for each, all processes together, before that of :meth:`maps`. The samples are
        those of the whole data set also where only a part of it is renewed.

        Args:
            runner: See :meth:`maps`.
            view: See :meth:`view`.

        Returns:
            By their names in ``required_means``, ``(N, D)`` features or ``(N,)`` maps, fp32, on
            the device, the same in all processes.
        """
        means = {}
        rows = range(0, len(view), -(-len(view) // AVERAGED))
        for name in self.source.required_means:
            total, count, place = 0.0, 0, get_rank()
            look = partial(self.source.values_to_average, name, means=means)
            for model, batch in self._batches(runner, view, rows):
                values, counts = self._look(look, model, batch, _autocast(runner))
                for row, sample in enumerate(batch['data_samples']):
                    # What fills the last shares has been counted by another process.
                    if place >= len(rows) or sample.get('unreadable'):
                        counts[row] = False
                    place += get_world_size()
                mask = counts.view(-1, *(1, ) * (values.dim() - 1))
                # In fp64, so that it does not tell how many processes there are.
                total += torch.where(mask, values, 0).sum(dim=0, dtype=torch.float64)
                count += counts.sum()
            all_reduce(total)
            all_reduce(count)
            means[name] = (total / count.clamp_min(1)).float()
        return means

    def maps(self, runner: Runner, view: Dataset, rows: range) -> Iterator[tuple[Tensor, Tensor]]:
        """Look at some samples, all processes together, and draw from no random stream.

        Args:
            runner: Whose model looks, and whose training loader and precision hold where
                nothing else is said.
            view: See :meth:`view`.
            rows: The samples.

        Yields:
            Indices ``(n,)`` int64 and maps ``(n, N)`` fp32 of a batch, on the CPU, the same
            in all processes; each sample comes once.
        """
        means = self.means(runner, view)
        kind, scale = _CROSSING[self.dtype]
        left = len(rows)
        for model, batch in self._batches(runner, view, rows):
            maps = self.of_batch(model, batch, _autocast(runner), means)
            # What cannot be looked at has no preference.
            for row, sample in enumerate(batch['data_samples']):
                if sample.get('unreadable'):
                    maps[row] = 0
            maps = (maps * scale).round().to(kind) if scale != 1 else maps.to(kind)
            index = torch.tensor([sample.sample_idx for sample in batch['data_samples']],
                                 device=maps.device)
            index, maps = _gathered(index)[:left], _gathered(maps)[:left]
            left -= len(index)
            yield index, maps.float() / scale

    def _look(self, look: Callable, model: nn.Module, batch: dict,
              training: AbstractContextManager | None) -> Tensor:
        """What ``look(vit, images)`` gives of a batch, in the precision of this pass."""
        precision = training or nullcontext()
        if self.precision is not None:
            device = torch.device(model.data_preprocessor.device).type
            precision = torch.autocast(device, torch.bfloat16, enabled=self.precision == 'bf16')
        with torch.no_grad(), precision:
            inputs = model.data_preprocessor(batch)['inputs']
            found = patch_grid(*inputs.shape[-2:], model.backbone.patch_size)
            if found != self.grid(model.backbone):
                raise InputError(f'the whole images have {found[0]}x{found[1]} patches, the model '
                                 f'was made for {model.backbone.grid[0]}x{model.backbone.grid[1]}: '
                                 'set model.backbone.img_size to the size of the crops')
            return look(model.backbone, inputs)

    def _batches(self, runner: Runner, view: Dataset, rows: range
                 ) -> Iterator[tuple[nn.Module, dict]]:
        """The model to look with and this process's batches of some samples."""
        training = runner.train_dataloader
        workers = training.num_workers if self.num_workers is None else self.num_workers
        loader = DataLoader(
            with_stand_ins(view, training.dataset, workers), sampler=_Share(rows),
            batch_size=self.images(training), num_workers=workers,
            timeout=training.timeout if workers else 0, collate_fn=default_collate,
            pin_memory=training.pin_memory,
            # Else the loader would draw its base seed from the stream that training goes on with.
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
    """Every k-th of some samples for each of k processes; equal shares, so the last begin anew."""

    def __init__(self, rows: range) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / get_world_size())

    def __iter__(self) -> Iterator[int]:
        for turn in range(len(self)):
            yield self.rows[(turn * get_world_size() + get_rank()) % len(self.rows)]


def _gathered(part: Tensor) -> Tensor:
    """Rows of all processes in the order of the samples, what fills the last shares at the end."""
    return torch.stack(all_gather(part.contiguous()), dim=1).flatten(0, 1).cpu()


def _autocast(runner: Runner) -> AbstractContextManager:
    """The precision of training."""
    return runner.optim_wrapper.optim_context(runner.model)
