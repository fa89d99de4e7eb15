"""Let protocols on the same features encode the images once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mmengine.config import Config

from amt_mm.config.options import reads


@contextmanager
def encoding_once(runs: Sequence[Mapping], work_dir: Path) -> Iterator[list[Mapping]]:
    """Let runs that measure the same features share them in a folder while the block runs.

    The features of ImageNet-1K by ViT-B take 8 GB. Runs on the same features that start at the same
    time encode for themselves.

    Args:
        runs: Each with ``checkpoint``, ``config``, which gets ``test_cfg.features``, and
            ``folder``; finished ones have ``result.json`` there.
        work_dir: Where to make the folder.

    Yields:
        The runs, first those that encode for others: if they started together, all would encode.
    """
    alike = defaultdict(list)
    for run in runs:
        if (reads(run['config'], 'test_cfg.features', {})
                and not (run['folder'] / 'result.json').is_file()):
            alike[_features_of(run['config'], run['checkpoint'])].append(run)
    shared = [group for group in alike.values() if len(group) > 1]
    if not shared:
        yield list(runs)
        return
    work_dir.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix='.features-', dir=work_dir) as folder:
        for place, group in enumerate(shared):
            own = Path(folder, str(place))
            own.mkdir()
            for run in group:
                run['config'].test_cfg.features = str(own.resolve())
        read = [run['folder'] for group in shared for run in group[1:]]
        yield sorted(runs, key=lambda run: run['folder'] in read)


def _features_of(cfg: Config, checkpoint: Path) -> str:
    """Describe all that the features of a run depend on."""
    loop = cfg.test_cfg
    # Without a checkpoint, the seed decides on the weights.
    settings = [cfg.get(name) for name in ('randomness', 'model', 'data_preprocessor')]
    return repr([str(checkpoint), cfg.default_hooks.pretrained.get('encoder'), loop.get('fp16'),
                 settings, cfg.test_dataloader.dataset, loop.train_dataloader.dataset])
