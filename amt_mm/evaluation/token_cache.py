"""Patch tokens of a data set, encoded once and kept in a memory-mapped file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from socket import gethostname

import torch
from mmengine.dist import all_gather_object, barrier, is_main_process
from mmengine.logging import MMLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from amt_mm.datasets.train_and_test import class_names
from amt_mm.distributed import from_rank0
from amt_mm.errors import InputError
from amt_mm.saliency.map_file import allocate

from .dataset_features import (
    class_label,
    gather_in_order,
    has_cls,
    whole_image_tokens,
    whole_order,
)
from .features import check_tokens, evaluating

# Half the size of float32; an error of 2^-11 is far below the spread of a token's values.
_TYPE = torch.float16


@dataclass(frozen=True)
class LabelledTokens:
    """Patch tokens and classes of all images of a data set, in its order.

    Attributes:
        tokens: ``(n, N, D)`` float16, on the CPU, in a file that exists as long as this tensor.
        labels: ``(n,)`` int64, on the CPU.
        names: Class names, None if the data set has none.
    """

    tokens: Tensor
    labels: Tensor
    names: tuple[str, ...] | None


def labelled_tokens(model: nn.Module, loader: DataLoader, file: Path,
                    progress: str | None = None) -> LabelledTokens:
    """Encode a labelled data set as :func:`cached_tokens` does, which has the arguments.

    Raises:
        InputError: An image does not have exactly one class label; and see there.
    """
    labels: list[int] = []
    tokens = cached_tokens(
        model, loader, file, progress,
        lambda rows, samples: labels.extend(class_label(sample) for sample in samples))
    return LabelledTokens(
        tokens, gather_in_order(whole_order(loader), torch.tensor(labels), len(tokens)),
        class_names(loader.dataset))


def cached_tokens(model: nn.Module, loader: DataLoader, file: Path, progress: str | None = None,
                  look: Callable[[Tensor, Sequence], object] | None = None) -> Tensor:
    """Encode a data set to patch tokens; each process of the machine encodes its share.

    The processes share one file. The system keeps in memory what fits and reads the rest from the
    disk. The file has no name once all have opened it, so it disappears with them, however they
    end. All processes must call it.

    Args:
        model: See :func:`~amt_mm.evaluation.dataset_features.image_features`.
        loader: Likewise.
        file: Where to put the tokens, on a local disk.
        progress: Title of a progress bar on the main process's terminal. Defaults to None: no bar.
        look: Called with the places in the data set ``(B,)`` and the data samples of each batch
            of this process. Defaults to None.

    Returns:
        ``(n, N, D)`` float16, on the CPU, in the order of the data set; the file exists as long as
        this tensor.

    Raises:
        InputError: The processes run on several machines, the disk is too small, or a token is not
            finite in float16; and see ``image_features``.
    """
    # Only torchrun says how many processes a machine has.
    if len(set(all_gather_object(gethostname()))) > 1:
        raise InputError('the processes share the patch tokens in a file: run this protocol on '
                         'one machine')
    order, start, tokens = whole_order(loader), 0, None
    device = next(model.parameters()).device
    with evaluating(model):
        for batch in tqdm(loader, progress,
                          disable=None if progress and is_main_process() else True):
            rows = order[start:start + len(batch['data_samples'])]
            start += len(rows)
            if look is not None:
                look(rows, batch['data_samples'])
            images = model.data_preprocessor(batch)['inputs'].to(device)
            found = whole_image_tokens(model, images)  # (B, 1 + N, D), or without [CLS]
            check_tokens(found, images)
            found = found[:, int(has_cls(model)):].to('cpu', _TYPE)  # (B, N, D)
            if not torch.isfinite(found).all():
                raise InputError('a patch token is not finite in float16, whose largest number is '
                                 '65504; has the training diverged?')
            if tokens is None:
                tokens = shared_tensor(file, (len(loader.dataset), *found.shape[1:]), _TYPE,
                                       'patch tokens')
            tokens[rows] = found
    barrier()
    return tokens


def shared_tensor(file: Path, shape: Sequence[int], dtype: torch.dtype, what: str) -> Tensor:
    """Return a tensor in a file without a name, which all processes of the machine share.

    All of them must call it.

    Args:
        file: Where to put it, on a local disk; the name gets a random part.
        shape: Of the tensor; it is filled with zeros.
        dtype: Of the tensor.
        what: It is, for messages.

    Raises:
        InputError: The disk is too small.
    """
    count = math.prod(shape)
    size = count * dtype.itemsize
    MMLogger.get_current_instance().info(
        f'Caching {what} of {" x ".join(map(str, shape))} in {str(dtype).split(".")[1]}: '
        f'{size / 1e6:,.1f} MB in {file.parent}')

    def create() -> Path:
        # Two runs that share a folder and began in the same second give the same name.
        own = file.with_stem(f'{file.stem}-{token_hex(8)}')
        file.parent.mkdir(parents=True, exist_ok=True)
        if (free := allocate(own, size)) is not None:
            raise InputError(f'{file.parent}: the {what} need {size / 1e9:.1f} GB, '
                             f'{free / 1e9:.1f} GB are free; name a folder with more space by '
                             'test_cfg.cache')
        return own

    own = from_rank0(create)
    tensor = torch.from_file(str(own), shared=True, size=count, dtype=dtype).view(*shape)
    barrier()
    if is_main_process():
        own.unlink()
    return tensor
