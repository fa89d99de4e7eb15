"""Evaluate a checkpoint with a protocol on a data set."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config
from mmpretrain.registry import DATASETS

from amt_mm.checkpoints.config_text import read_config_text
from amt_mm.checkpoints.describe import Pretraining
from amt_mm.checkpoints.digest import checkpoint_digest
from amt_mm.checkpoints.newest import has_begun
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.config.batch_and_epochs import scaled_stages
from amt_mm.config.options import knows, reads
from amt_mm.config.reading import read_config, require_file
from amt_mm.datasets import DavisVideos, ImageFolder, SegmentationFolder
from amt_mm.datasets.download import clone_command
from amt_mm.datasets.image_folder import ALL_EXTENSIONS
from amt_mm.datasets.landmarks import lists_of_queries
from amt_mm.datasets.segmentation_folder import are_images_and_masks
from amt_mm.did_you_mean import did_you_mean
from amt_mm.errors import InputError
from amt_mm.file_lock import file_lock
from amt_mm.json_files import read_figures
from amt_mm.names import BACKGROUND_DATA, DATA, MASKED_DATA, MORE_DATA, VIDEO_DATA
from amt_mm.protocols import PROTOCOLS
from amt_mm.shipped import configs_folder

from .claims import claim, claimed_settings, without_speed
from .comparison import resolved
from .image_identity import image_identity
from .jobs import run_tool
from .scalars import scalars

# Labels of a protocol -> public data sets, and the folders that it also takes.
_SOURCES = {'masks': (MASKED_DATA, ' or a folder of images/ and masks/'),
            'backgrounds': (BACKGROUND_DATA, ''),
            'videos': (VIDEO_DATA, ' or a folder of its layout')}
# Options that every config takes, also one without an overlay.
_FOR_ALL = ('overlay.image_size', 'overlay.pixels')


def find_config(protocol: str, data: str, pretraining: Pretraining) -> tuple[Path, dict]:
    """Find the config of a protocol on a data set.

    Args:
        protocol: One of :data:`amt_mm.protocols.PROTOCOLS`.
        data: One of :data:`amt_mm.names.DATA` or :data:`amt_mm.names.MORE_DATA`, for protocols on
            masks of :data:`amt_mm.names.MASKED_DATA`, for those on backgrounds of
            :data:`amt_mm.names.BACKGROUND_DATA`, for those on videos of
            :data:`amt_mm.names.VIDEO_DATA`, or ``'folder'``.
        pretraining: Selects the schedule where that depends on the host.

    Returns:
        The config, and the options that adapt the one for folders to a public data set without a
        config of its own.

    Raises:
        InputError: There is none.
    """
    entry = PROTOCOLS[protocol]
    public, folder = _SOURCES.get(entry.labels, ({**DATA, **MORE_DATA}, ' or a folder'))
    for pattern in (entry.host_configs.get(pretraining.host), entry.configs):
        if pattern and (config := _find_benchmark(pattern, data)):
            return config, {}
    config = _find_benchmark(entry.configs, 'folder')
    if not config or data not in public:
        raise InputError(f'no config for {protocol} on {data}: use {", ".join(public)}{folder}, '
                         'see configs/benchmarks')
    images = configs_folder() / f'_base_/datasets/labelled/{public[data]}.py'
    labelled = Config.fromfile(images).overlay.labelled
    return config, {'overlay.labelled': {'_delete_': True, **labelled}}


def _find_benchmark(pattern: str, data: str) -> Path | None:
    return min((configs_folder() / 'benchmarks').glob(pattern.format(data=data)), default=None)


def protocol_of(config: str) -> str:
    """Return the name of the protocol that a config, a file or ``PACKAGE::...``, sets.

    Raises:
        InputError: It cannot be read, or sets none or an unknown one.
    """
    protocol = read_config(config).get('protocol')
    if protocol not in PROTOCOLS:
        raise InputError(f'config {config}: protocol={protocol!r} is not one of '
                         f'{", ".join(PROTOCOLS)}; inherit from a file of '
                         'configs/_base_/protocols, which sets it')
    return protocol


def folder_options(folder: str, labels: str = 'classes') -> dict:
    """Return the options that put a folder of images into a config for ``folder``.

    Args:
        folder: Of class subfolders, of images and masks, of revisited Oxford or Paris, or in the
            layout of DAVIS.
        labels: See :class:`~amt_mm.protocols.Protocol`.

    Raises:
        InputError: The folder does not exist, has fewer than two class subfolders or masks in
            their place, or lists of queries for another protocol, or an image or a frame of it has
            no mask.
    """
    if not Path(folder).expanduser().exists() and not clone_command(folder):
        public = (*DATA, *MORE_DATA, *MASKED_DATA, *BACKGROUND_DATA, *VIDEO_DATA)
        raise InputError(f'--data {folder}: no such folder or public data set'
                         + did_you_mean(folder, public))
    path = _absolute(folder)
    if labels in ('masks', 'videos'):
        {'masks': SegmentationFolder, 'videos': DavisVideos}[labels](data_root=folder)
        return {'overlay.labelled.dataset.data_root': path}
    if lists_of_queries(folder):
        if labels != 'relevance':
            raise InputError(f'{folder}: has lists of queries (gnd_*.pkl), not class subfolders: '
                             'use --protocols retrieval')
        dataset = dict(type='amt_mm.RevisitedLandmarks', data_root=path)
        return {'overlay.labelled': dict(_delete_=True, dataset=dataset,
                                         train=dict(split='database'), test=dict(split='query'))}
    # Arrays and DICOM, too: `pixels` may read them.
    images = ImageFolder(data_root=folder, with_label=True, extensions=ALL_EXTENSIONS)
    classes = images.metainfo['classes']
    if len(classes) < 2:
        raise InputError(f'{folder}: there is only one class, {classes[0]}; is the folder one '
                         'level too high?')
    if are_images_and_masks(classes):
        raise InputError(f'{folder}: has images and masks, not class subfolders: use --protocols '
                         'segmentation')
    return {'overlay.labelled.dataset.data_root': path,
            'overlay.labelled.num_classes': len(classes)}


def _absolute(folder: str) -> str:
    return os.path.abspath(os.path.expanduser(folder))


def adapt_config(config: Path | str, pretraining: Pretraining, options: Mapping) -> Config:
    """Read a protocol's config and set the architecture that was pre-trained.

    Args:
        config: A protocol on a data set.
        pretraining: Description of the checkpoint. An architecture or image size that the config
            itself sets takes precedence.
        options: As for ``--cfg-options``; they take precedence over everything. Options that this
            config does not have are skipped, see :func:`check_known`, but for the size of images
            and how their pixels are read. The learning rate's schedule follows the epochs.

    Raises:
        InputError: The config is not a protocol's, the patch does not divide the image, frames of
            videos would become images of one size, nothing tells how images of other than 3
            channels are read, or there is no such ``test_cfg.guide``.
    """
    own = read_config(config)
    for part in ('model.backbone', 'default_hooks.pretrained', 'test_dataloader'):
        if not knows(own, part):
            raise InputError(f'config {config} has no {part}, so it is not a protocol: see '
                             'configs/benchmarks')
    # Frames of videos keep their ratio of sides; the size of pre-training is that of the positions.
    videos = own.get('protocol') in PROTOCOLS and PROTOCOLS[own.protocol].labels == 'videos'
    entries = {}
    if own.model.backbone.get('arch') == 'base' and pretraining.backbone:
        arch = pretraining.backbone['arch']
        entries['model.backbone.arch'] = ({'_delete_': True, **arch} if isinstance(arch, dict)
                                          else arch)
        entries.update({f'model.backbone.{name}': value
                        for name, value in pretraining.backbone.items() if name != 'arch'})
        if not pretraining.backbone.get('with_cls_token', True) and (
                own.model.backbone.get('out_type') != 'raw'):
            # Of a classifier: the mean of the patch tokens.
            entries['model.backbone.out_type'] = 'avg_featmap'
        if pretraining.image_size is not None and not own.get('overlay', {}).get('image_size'):
            entries['model.backbone.img_size' if videos else 'overlay.image_size'] = (
                pretraining.image_size)
    pixels = own.get('overlay', {}).get('pixels')
    if pretraining.pixels is not None and not pixels:
        entries['overlay.pixels'] = pretraining.pixels
    entries.update({key: value for key, value in options.items()
                    if key in _FOR_ALL or reads(own, key, options)})
    if any(key.startswith('overlay.image_size.') for key in entries):
        # Of a number, no part can be set.
        size = entries.pop('overlay.image_size', None)
        if size is not None:
            entries.setdefault('overlay.image_size.size', size)
    if videos and 'overlay.image_size' in entries:
        raise InputError(f'--image-size {entries["overlay.image_size"]}: frames of videos keep '
                         'their ratio of sides: give --cfg-options test_cfg.size=480, the shorter '
                         'one, and evaluate other protocols by another command')
    channels = pretraining.backbone.get('patch_cfg', {}).get('in_channels', 3)
    if channels != 3 and not pixels and 'overlay.pixels' not in entries:
        raise InputError(f'the encoder takes {channels} channels, but the file does not tell how '
                         'images are read: give amt evaluate --pixels FILE, which amt statistics '
                         'FOLDER --out FILE writes')
    cfg = resolved(str(config), entries)
    if 'train_cfg.max_epochs' in entries and isinstance(cfg.get('param_scheduler'), list) and (
            not any(key.startswith('param_scheduler') for key in entries)):
        cfg.param_scheduler = scaled_stages(
            cfg.param_scheduler, cfg.train_cfg.max_epochs, own.train_cfg.max_epochs)
    cfg.pop('protocol', None)  # the tools that run it do not need the name
    if guide := (cfg.get('test_cfg') or {}).get('guide'):
        require_file(guide, 'test_cfg.guide')
    size, patch = cfg.model.backbone.img_size, cfg.model.backbone.patch_size
    if isinstance(size, int) and size % patch:
        raise InputError(f'images of {size} pixels are not a multiple of the patch size {patch}: '
                         'set another --image-size')
    return cfg


def check_images(cfg: Config) -> None:
    """Check that the test images exist, before hours of other runs.

    Raises:
        InputError: Names the expected path and how to get the images.
    """
    for dataset in cfg.test_dataloader.dataset.get('datasets', [cfg.test_dataloader.dataset]):
        if not Path(dataset.get('data_root', '.')).expanduser().is_dir():
            DATASETS.build(dataset)  # raises with the data set's own instructions


def check_known(options: Mapping, configs: Iterable[Path | str]) -> None:
    """Raise InputError for an option that none of the configs, nor a class in them, has."""
    read = [read_config(config) for config in configs]
    for key in options:
        if not any(reads(cfg, key, options) for cfg in read):
            raise InputError(f'--cfg-options {key}: none of the chosen configs has this setting')


def folder_of_run(results: Path, digest: str, run: str) -> Path:
    """Return the folder of a run: it depends on the checkpoint, not on its place in a command.

    Args:
        results: Folder of all checkpoints of one label.
        digest: Of :func:`~amt_mm.checkpoints.digest.checkpoint_digest`.
        run: Data set, protocol and seed, as folders.
    """
    # Earlier versions numbered the checkpoints of a command; their runs stay where they are.
    for older in sorted(results.glob('*')):
        settings = claimed_settings(older / run)
        if settings and digest == read_config_text(settings).get('evaluated', {}).get('checkpoint'):
            return older / run
    return results / digest[:8] / run


def evaluate(cfg: Config, checkpoint: Path, work_dir: Path, processes: int = 1,
             threads: int | None = None, show: Sequence[str] | None = None) -> dict[str, float]:
    """Run a protocol, resume it if it was interrupted, or read its result if it is finished.

    A run is identified by its settings, the bytes of the checkpoint and of ``test_cfg.guide``, and
    names, sizes and labels of the images.

    Args:
        cfg: From :func:`adapt_config`.
        checkpoint: The pre-trained encoder, or ``none``.
        work_dir: Folder of this run; a finished run has ``result.json`` there.
        processes: Number of processes. For protocols that train, the learning rate is scaled by
            the total batch size, as the config's ``auto_scale_lr`` says.
        threads: CPU threads per process. Defaults to torch's choice.
        show: See :func:`amt_mm.apis.jobs.run_tool`.

    Returns:
        The metrics of the config's evaluator; for protocols that train, after the last epoch.

    Raises:
        InputError: The folder holds a run with other settings, weights or images, or the tool
            refused its input.
        RunError: The tool failed.
    """
    checkpoint = checkpoint if str(checkpoint) == 'none' else checkpoint.resolve()
    cfg.default_hooks.pretrained.checkpoint = str(checkpoint)
    cfg.evaluated = dict(checkpoint=checkpoint_digest(checkpoint), processes=processes, images=[
        image_identity(loader.dataset) for loader in (
            # k-NN and low-shot have their training images in the loop.
            (cfg.get('test_cfg') or {}).get('train_dataloader'),
            cfg.get('train_dataloader'), cfg.get('test_dataloader')) if loader])
    if guide := (cfg.get('test_cfg') or {}).get('guide'):
        cfg.test_cfg.guide = str(Path(guide).resolve())
        cfg.evaluated.guide = checkpoint_digest(Path(guide))
    settings = _claim(work_dir, cfg)
    result_file = work_dir / 'result.json'
    if result_file.is_file():
        return read_figures(result_file)
    metrics = {}
    if cfg.get('train_cfg') is not None:
        resume = ['--resume'] if has_begun(work_dir) else []
        scale = ['--auto-scale-lr'] if cfg.get('auto_scale_lr') else []
        run_tool('train', [settings], [*resume, *scale], work_dir, processes, threads, show)
        metrics = _metrics_of_epoch(scalars(work_dir), cfg.train_cfg.max_epochs)
        checkpoint = work_dir / f'epoch_{cfg.train_cfg.max_epochs}.pth'
    if not metrics:  # no training, or it was interrupted in its last validation
        run_tool('test', [settings, checkpoint], [], work_dir, processes, threads, show)
        # MMEngine names the folder and the file of a run after its start time.
        metrics = read_figures(max(work_dir.glob('*/*.json')))
    write_text(result_file, json.dumps(metrics, indent=2))
    return read_figures(result_file)


def _claim(work_dir: Path, cfg: Config) -> Path:
    if (work_dir / 'result.json').is_file() or has_begun(work_dir):
        return claim(work_dir, cfg, _identity)
    # What failed before it computed anything left its claim alone; what runs holds the lock.
    with file_lock(work_dir):
        return claim(work_dir, cfg, lambda settings: {})


def _identity(settings: dict) -> dict:
    """What identifies a run: its settings, less those that its result does not depend on."""
    same = without_speed(settings, _with_absolute_root)
    evaluated, loop = same.get('evaluated', {}), same.get('test_cfg') or {}
    for place in ('cache', 'features'):
        loop.pop(place, None)
    # Known by the hashes of their bytes.
    hook = (same.get('default_hooks') or {}).get('pretrained') or {}
    hook.pop('checkpoint', None)
    if 'guide' in evaluated:
        loop.pop('guide', None)
    # Processes that train share a batch norm; others only share the work.
    if not same.get('train_cfg'):
        evaluated.pop('processes', None)
    return same


def _with_absolute_root(section: Mapping) -> Mapping:
    root = section.get('data_root')
    return {**section, 'data_root': _absolute(root)} if isinstance(root, str) else section


def _metrics_of_epoch(records: Sequence[Mapping], epoch: int) -> dict[str, float]:
    """Return what was measured after an epoch, empty if nothing was."""
    # Training records have no accuracy, and their `step` counts iterations.
    for record in reversed(records):
        if record.get('step') == epoch and 'accuracy/top1' in record:
            return {name: value for name, value in record.items() if name.startswith('accuracy/')}
    return {}
