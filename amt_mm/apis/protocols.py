"""Evaluate one checkpoint by one protocol on one data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmpretrain.registry import DATASETS

from amt_mm.checkpoints.describe import Pretraining
from amt_mm.checkpoints.newest import has_begun
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.datasets import ImageFolder, dataset_fingerprint
from amt_mm.errors import InputError
from amt_mm.names import DATA

from .comparison import resolved
from .jobs import claim, configs_folder, run_tool, scalars
from .launch import knows

TRAINED = ('linear', 'linear4', 'finetune')
# In the name of a config of linear4, in the folder `linear`.
_LAST4 = '-last4-'


def find_config(protocol: str, data: str, pretraining: Pretraining) -> Path:
    """Find the config of a protocol on a data set.

    Args:
        protocol: One of :data:`amt_mm.names.PROTOCOLS`.
        data: One of :data:`amt_mm.names.DATA`, or ``'folder'``.
        pretraining: SimMIM is fine-tuned by another schedule than the rest.

    Raises:
        InputError: There is none.
    """
    folder = configs_folder() / 'benchmarks' / protocol.removesuffix('4')
    found = [path for path in sorted(folder.glob(f'vit-base-p16_*_{data}.py'))
             if protocol_of(path) == protocol]
    simmim = [path for path in found if '-simmim-' in path.name]
    if pretraining.host == 'SimMIM' and simmim:
        return simmim[0]
    found = [path for path in found if path not in simmim]
    if not found:
        raise InputError(f'no config for {protocol} on {data}: there are {", ".join(DATA)} and '
                         'folders, see configs/benchmarks')
    return found[0]


def protocol_of(config: Path) -> str:
    """Protocol of a config by its folder and its name; any folder's name for others."""
    if config.parent.name == 'linear' and _LAST4 in config.name:
        return 'linear4'
    return config.parent.name


def folder_options(folder: str) -> dict:
    """Options that put a folder of class subfolders into a config for ``folder``.

    Raises:
        InputError: No such folder, or no class subfolders in it.
    """
    images = ImageFolder(data_root=folder, with_label=True)
    if len(images.metainfo['classes']) < 2:
        raise InputError(f'{folder}: one class, {images.metainfo["classes"][0]}, and nothing to '
                         'tell apart: is it one level too high?')
    return {'overlay.labelled.dataset.data_root': folder,
            'overlay.labelled.num_classes': len(images.metainfo['classes'])}


def fitted(config: Path, pretraining: Pretraining, options: Mapping) -> Config:
    """Read a config and give it the transformer that was pre-trained.

    Args:
        config: File of a protocol on a data set.
        pretraining: What the checkpoint says of itself. A transformer or an image
            size that the config sets by itself stays.
        options: Entries as for ``--cfg-options``, which win. Those that this config
            does not have are for other protocols, see :func:`refuse_unknown`.
    """
    own = Config.fromfile(config)
    for part in ('model.backbone', 'default_hooks.pretrained', 'test_dataloader'):
        if not knows(own, part):
            raise InputError(f'config {config} has no {part}: it is no protocol, see '
                             'configs/benchmarks')
    entries = {}
    if own.model.backbone.get('arch') == 'base' and pretraining.backbone:
        arch = pretraining.backbone['arch']
        entries['model.backbone.arch'] = ({'_delete_': True, **arch} if isinstance(arch, dict)
                                          else arch)
        entries.update({f'model.backbone.{name}': value
                        for name, value in pretraining.backbone.items() if name != 'arch'})
        if pretraining.image_size is not None and not own.get('overlay', {}).get('image_size'):
            entries['overlay.image_size'] = pretraining.image_size
    entries.update({key: value for key, value in options.items() if knows(own, key)})
    cfg = resolved(str(config), entries)
    size, patch = cfg.model.backbone.img_size, cfg.model.backbone.patch_size
    if isinstance(size, int) and size % patch:
        raise InputError(f'images of {size} pixels cannot be cut into patches of {patch}: give '
                         'another --image-size')
    return cfg


def check_images(cfg: Config) -> None:
    """Find out that images are missing before hours of other runs.

    Raises:
        InputError: With the path expected and how to get them.
    """
    for dataset in cfg.test_dataloader.dataset.get('datasets', [cfg.test_dataloader.dataset]):
        if not Path(dataset.get('data_root', '.')).expanduser().is_dir():
            # It says what is missing better than could be said here.
            DATASETS.build(dataset)


def refuse_unknown(options: Iterable[str], configs: Iterable[Path]) -> None:
    """Refuse an option that no config has.

    Raises:
        InputError: With its name.
    """
    read = [Config.fromfile(config) for config in configs]
    for key in options:
        if not any(knows(cfg, key) for cfg in read):
            raise InputError(f'--cfg-options {key}: none of the chosen configs has such a setting')


def evaluate(cfg: Config, checkpoint: Path, work_dir: Path, processes: int = 1,
             threads: int | None = None, show: Sequence[str] | None = None) -> dict[str, float]:
    """Run a protocol, unless that was done; a broken training is resumed.

    A run is known by its settings, the bytes of the checkpoint and the names of the images.

    Args:
        cfg: A fitted config.
        checkpoint: The pre-trained encoder.
        work_dir: Folder of this run; ``result.json`` there ends it.
        processes: How many to start. The learning rate of protocols that train is scaled
            by the images of all of them to a step, as the config's ``auto_scale_lr`` says.
        threads: CPU threads of each. Defaults to torch's choice.
        show: See :func:`amt_mm.apis.jobs.run_tool`.

    Returns:
        The metrics as the config's evaluator names them, after the last epoch for
        protocols that train.

    Raises:
        InputError: The folder holds a run of other settings, weights or images, or the tool
            refused its input.
        RunError: The tool failed.
    """
    trains = cfg.get('train_cfg') is not None
    checkpoint = checkpoint if str(checkpoint) == 'none' else checkpoint.resolve()
    cfg.default_hooks.pretrained.checkpoint = str(checkpoint)
    # A result is that of these weights and images, and of as many processes as share a batch norm.
    cfg.evaluated = dict(checkpoint=_digest(checkpoint), processes=processes, images=[
        _fingerprint(loader.dataset) for loader in (
            # k-NN and low-shot have theirs in the loop.
            (cfg.get('test_cfg') or {}).get('train_dataloader'),
            cfg.get('train_dataloader'), cfg.get('test_dataloader')) if loader])
    settings = claim(work_dir, cfg)
    result_file = work_dir / 'result.json'
    if result_file.is_file():
        return json.loads(result_file.read_text())
    if trains:
        resume = ['--resume'] if has_begun(work_dir) else []
        scale = ['--auto-scale-lr'] if cfg.get('auto_scale_lr') else []
        run_tool('train', [settings], [*resume, *scale], work_dir, processes, threads, show)
        metrics = _of_epoch(scalars(work_dir), cfg.train_cfg.max_epochs)
        checkpoint = work_dir / f'epoch_{cfg.train_cfg.max_epochs}.pth'
    else:
        metrics = {}
    if not metrics:  # also where training broke off in its last validation
        run_tool('test', [settings, checkpoint], [], work_dir, processes, threads, show)
        # MMEngine names the folder and the file of a run by the time of its start.
        metrics = json.loads(max(work_dir.glob('*/*.json')).read_text())
    write_text(result_file, json.dumps(metrics, indent=2))
    return json.loads(result_file.read_text())


def _of_epoch(records: Sequence[Mapping], epoch: int) -> dict[str, float]:
    """What was measured after an epoch; nothing if nothing was."""
    # Records of training have no accuracy, and `step` counts iterations there.
    for record in reversed(records):
        if record.get('step') == epoch and 'accuracy/top1' in record:
            return {name: value for name, value in record.items() if name.startswith('accuracy/')}
    return {}


# Of one data set in a process: ImageNet's names take seconds, and runs are many.
_FINGERPRINTS: dict[str, str] = {}


def _fingerprint(dataset: ConfigDict) -> str:
    key = repr(dataset)
    if key not in _FINGERPRINTS:
        _FINGERPRINTS[key] = dataset_fingerprint(DATASETS.build(dataset))
    return _FINGERPRINTS[key]


def _digest(checkpoint: Path) -> str:
    if str(checkpoint) == 'none':
        return 'none'
    digest = hashlib.blake2b(digest_size=16)
    with open(checkpoint, 'rb') as file:
        while block := file.read(2**24):
            digest.update(block)
    return digest.hexdigest()
