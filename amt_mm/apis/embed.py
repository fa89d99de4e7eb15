"""Write the features of every image of a folder."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dataset import default_collate
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

import amt_mm
from amt_mm.checkpoints.digest import checkpoint_digest
from amt_mm.checkpoints.output import require_outside, require_writable
from amt_mm.datasets import ImageFolder
from amt_mm.datasets.frames import split_frame
from amt_mm.datasets.unreadable import is_unreadable_image
from amt_mm.datasets.wrapper import DatasetWrapper
from amt_mm.errors import InputError, RunError
from amt_mm.evaluation.block_features import block_features, block_indices
from amt_mm.evaluation.features import evaluating
from amt_mm.file_lock import file_lock
from amt_mm.messages import warn
from amt_mm.reliability.worker_signals import shield_forked
from amt_mm.saliency.store import fingerprint

from .encoder import LoadedEncoder, load_encoder
from .feature_files import check_format, write_features
from .feature_parts import FeatureParts, joined

# What an interruption costs at most, besides the batch at hand.
_SAVE_SECONDS = 10.0
_WORDS = {'cls': '[CLS]', 'mean': 'the mean of the patch tokens',
          'both': '[CLS] and the mean of the patch tokens', 'patches': 'all patch tokens'}


class Embedded(NamedTuple):
    """What was written.

    Attributes:
        shape: Of the features, ``(n, F)`` or ``(n, N, F)``.
        dtype: Of the features.
        what: The tokens and blocks in words.
        left_out: Number of unreadable images.
    """

    shape: tuple[int, ...]
    dtype: str
    what: str
    left_out: int


def embed(checkpoint: Path, folder: Path, out: Path, tokens: str | None = None,
          blocks: Sequence[int] = (-1, ), image_size: int | None = None,
          encoder: str | None = None, half: bool = False, batch_size: int = 64,
          workers: int = 2, processes: int = 1, force: bool = False) -> Embedded:
    """Encode every image of a folder and write the features into one file.

    Images are in the order of their sorted paths and cut as in evaluation. Those that cannot be
    read are named and left out. Until the file is complete, its parts are in a folder next to it;
    an interrupted call goes on from there, and gives the same bits as an unbroken one.

    Args:
        checkpoint: Any that evaluation reads, see :func:`amt_mm.checkpoints.describe.describe`.
        folder: Any that training reads, see :class:`amt_mm.datasets.ImageFolder`; class folders and
            splits do not matter.
        out: ``.npz``, ``.pt`` or ``.parquet``, see :mod:`amt_mm.apis.feature_files`.
        tokens: See :func:`~amt_mm.evaluation.block_features.block_features`. Defaults to None:
            ``'mean'`` for encoders without [CLS] or of MAE, SimMIM and MaskFeat, which do not train
            it, else ``'cls'``.
        blocks: Indices from 0, or negative ones from the end. Defaults to the last. Several are
            joined, earliest first.
        image_size: Side in pixels. Defaults to None: that of the pre-training, or 224.
        encoder: ``'teacher'`` or ``'student'`` of a checkpoint that has both. Defaults to None: the
            teacher.
        half: Compute in fp16 where torch's autocast does, and store fp16.
        batch_size: Images at once. Defaults to 64.
        workers: Processes that load images, for each that encodes. Defaults to 2; 0 loads in the
            process that encodes.
        processes: Processes that encode, each its share of the images, on GPUs in turn or with a
            share of the CPU threads. Defaults to 1: this one. A script that asks for more must
            start under ``if __name__ == '__main__'``.
        force: Replace ``out``. Defaults to False: refuse.

    Returns:
        What was written.

    Raises:
        InputError: No such folder, checkpoint, encoder, token or block; no image can be read; the
            parts beside ``out`` were begun with other settings; or it cannot be written
            or would lie among the images.
        RunError: A process that encodes or loads images was killed.
    """
    if not folder.is_dir():
        raise InputError(f'{folder}: no such folder')
    check_format(out)
    if out.exists() and not force:
        raise InputError(f'{out} exists: name another file, or replace it with --force')
    for name, value, least in (('batch_size', batch_size, 1), ('workers', workers, 0),
                               ('processes', processes, 1)):
        if value < least:
            raise InputError(f'{name}={value} must be at least {least}')
    require_outside(out, folder)
    require_writable(out)
    loaded = load_encoder(checkpoint, image_size, encoder)
    vit = loaded.model.backbone
    tokens = tokens or loaded.pooling
    if not loaded.has_cls and tokens in ('cls', 'both'):
        raise InputError(f'{checkpoint}: the encoder has no [CLS]: use --tokens mean or patches')
    vit.out_indices = block_indices(vit, blocks)
    dataset = _images(folder, loaded)
    names = [os.path.relpath(dataset.get_data_info(i)['img_path'], folder)
             for i in range(len(dataset))]
    settings = dict(
        checkpoint=checkpoint_digest(checkpoint), encoder=loaded.report.encoder, tokens=tokens,
        blocks=vit.out_indices, image_size=loaded.cfg.model.backbone.img_size, half=half)
    identity = {
        **settings, 'images': _identity(folder, names), 'batch_size': batch_size,
        'processes': processes,
        'versions': f'amt_mm {amt_mm.__version__}, torch {torch.__version__}'}
    parts_folder = out.with_name(f'{out.name}.parts')
    with file_lock(parts_folder):
        shares = [_Share(rank, rows, parts_folder / str(rank), identity, checkpoint, folder,
                         image_size, encoder, workers)
                  for rank, rows in enumerate(_shares(len(dataset), batch_size, processes))]
        try:
            if len(shares) == 1:
                _encode(shares[0], loaded, dataset)
            else:
                context = get_context('spawn')  # CUDA does not survive a fork
                with ProcessPoolExecutor(len(shares), context) as pool:
                    list(pool.map(_encode_in_process, shares, [len(shares)] * len(shares)))
        except RuntimeError as error:
            # Of those that encode, or as torch says it of those that load images.
            if not (isinstance(error, BrokenProcessPool)
                    or str(error).startswith('DataLoader worker')):
                raise
            raise RunError('a process was killed, probably for want of memory; the same command '
                           'continues') from error
        done = [share.parts() for share in shares]
        left_out = {index for parts in done for index in parts.left_out}
        kept = [name for i, name in enumerate(names) if i not in left_out]
        if not kept:
            raise InputError(f'{folder}: none of its {len(names)} images can be read')
        features = joined(parts_folder / 'rows', done)
        write_features(out, kept, features, settings)
        for parts in done:
            parts.close()
        shutil.rmtree(parts_folder)
    return Embedded(features.shape, str(features.dtype), _what(tokens, vit.out_indices),
                    len(left_out))


def _images(folder: Path, loaded: LoadedEncoder) -> ImageFolder:
    return ImageFolder(data_root=str(folder), split=None, with_label=False,
                       pipeline=loaded.pipeline)


def _shares(images: int, batch_size: int, processes: int) -> list[range]:
    """Divide images into consecutive shares of whole batches: sizes decide the last bits."""
    batches = -(-images // batch_size)
    edges = [min(images, batches * rank // processes * batch_size)
             for rank in range(processes + 1)]
    return [range(*edge) for edge in zip(edges, edges[1:], strict=False) if edge[0] < edge[1]]


@dataclass(frozen=True)
class _Share:
    """The images of one process; the arguments are those of :func:`embed`."""

    rank: int
    rows: range
    folder_of_parts: Path
    identity: dict
    checkpoint: Path
    folder: Path
    image_size: int | None
    encoder: str | None
    workers: int

    def parts(self) -> FeatureParts:
        """Open what is done."""
        return FeatureParts(self.folder_of_parts, self.identity,
                            np.float16 if self.identity['half'] else np.float32)


def _encode_in_process(share: _Share, processes: int) -> None:
    if torch.cuda.is_available():
        torch.cuda.set_device(share.rank % torch.cuda.device_count())
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    loaded = load_encoder(share.checkpoint, share.image_size, share.encoder)
    loaded.model.backbone.out_indices = share.identity['blocks']
    _encode(share, loaded, _images(share.folder, loaded))


class _ReadableImages(DatasetWrapper):
    """Index and sample, or index and the reason why the image cannot be read."""

    def __getitem__(self, index: int) -> tuple[int, dict | str]:
        """Return one of them."""
        try:
            return index, self.dataset[index]
        except Exception as error:
            if not is_unreadable_image(error):
                raise
            return index, str(error)


def _collate(samples: Sequence[tuple[int, dict | str]]
             ) -> tuple[dict | None, list[tuple[int, str]]]:
    """Batch what could be read; the rest are indices and reasons."""
    readable = [sample for _, sample in samples if isinstance(sample, dict)]
    left_out = [(index, sample) for index, sample in samples if isinstance(sample, str)]
    return default_collate(readable) if readable else None, left_out


def _encode(share: _Share, loaded: LoadedEncoder, dataset: ImageFolder) -> None:
    """Encode what is missing, batch by batch, with a bar on a terminal."""
    parts, batch_size = share.parts(), share.identity['batch_size']
    tokens, half = share.identity['tokens'], share.identity['half']
    for why in parts.left_out.values():
        warn(f'left out: {why}')
    done, saved = parts.batches * batch_size, time.monotonic()
    # Batches start at multiples of their size also where images are left out: sizes decide the
    # last bits.
    rows = share.rows[done:]
    loader = DataLoader(Subset(_ReadableImages(dataset), rows), batch_size,
                        num_workers=share.workers, collate_fn=_collate,
                        generator=torch.Generator(), pin_memory=torch.cuda.is_available(),
                        # A spawned process would spawn these, too, and each import the stack.
                        multiprocessing_context='fork' if share.workers else None)
    shield_forked(True)
    try:
        with evaluating(loaded.model), tqdm(
                total=len(share.rows), initial=min(done, len(share.rows)), unit='image',
                desc='features', position=share.rank, disable=None) as bar:
            for batch, left_out in loader:
                for _, why in left_out:
                    warn(f'left out: {why}')
                features = None if batch is None else _features(loaded, batch, tokens, half)
                parts.add(features, left_out)
                bar.update(len(left_out) + (0 if features is None else len(features)))
                if time.monotonic() - saved >= _SAVE_SECONDS:
                    parts.save()
                    saved = time.monotonic()
    finally:
        shield_forked(False)
        parts.save()
        parts.close()


def _features(loaded: LoadedEncoder, batch: dict, tokens: str, half: bool) -> np.ndarray:
    """Encode a batch, ``(B, F)`` or ``(B, N, F)``."""
    inputs: Tensor = loaded.model.data_preprocessor(batch)['inputs']
    with torch.autocast(inputs.device.type, torch.float16, enabled=half):
        features = block_features(loaded.model.backbone, inputs, tokens)
    features = features.half() if half else features
    if not features.isfinite().all():
        path = next(sample.get('img_path') for sample, own in zip(
            batch['data_samples'], features, strict=True) if not own.isfinite().all())
        raise InputError(f'{path}: its features are not finite'
                         + (' in fp16: leave out --half' if half else
                            '; check the weights of the checkpoint'))
    return features.cpu().numpy()


def _identity(folder: Path, names: Sequence[str]) -> str:
    """Fingerprint of the names, sizes and times of the images."""
    def described() -> Iterator[str]:
        for name in names:
            path = folder / split_frame(name)[0]
            # Of a link that leads nowhere, its own.
            status = os.stat(path, follow_symlinks=path.exists())
            yield f'{name}\n{status.st_size}\n{status.st_mtime_ns}'

    return fingerprint(described())


def _what(tokens: str, blocks: Sequence[int]) -> str:
    number = f'block{"s" * (len(blocks) > 1)} {", ".join(map(str, blocks))}'
    return f'{_WORDS[tokens]} of {number}, after the final norm'
