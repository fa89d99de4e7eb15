"""The model card of a pre-training, in Hugging Face's form."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from textwrap import dedent

import mmpretrain
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.checkpoints.newest import checkpoints
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.config_parts import class_name, mask_config
from amt_mm.datasets import dataset_fingerprint
from amt_mm.errors import InputError
from amt_mm.guidance import MapHook
from amt_mm.models.unwrapped import unwrapped
from amt_mm.printable import one_line
from amt_mm.version import __version__

from .probe_hook import ProbeHook
from .run_summary_hook import training_length

CARD = 'model_card.md'
_FIGURES = '## Figures\n\n'
_NOT_MEASURED = 'Not measured.\n'


def model_card(runner: Runner, license: str) -> str:
    """Write the card of a finished run.

    Args:
        runner: It has trained a self-supervised model.
        license: Identifier of Hugging Face for the licence of the weights.

    Returns:
        Markdown with YAML in front.
    """
    name, parts = _text(Path(runner.work_dir).resolve().name), _recipe(runner)
    figures = [hook.line for hook in runner.hooks if isinstance(hook, ProbeHook) and hook.line]
    saved = checkpoints(runner.work_dir)
    file = shlex.quote(saved[0].name) if saved else 'CHECKPOINT'
    guided = any(isinstance(hook, MapHook) for hook in runner.hooks)
    front = dict(
        license=license, library_name='amt_mm', pipeline_tag='image-feature-extraction',
        tags=['masked-image-modeling', 'self-supervised-learning', 'vision-transformer',
              *(['attention-guided-masking'] if guided else [])])
    table = '\n'.join(f'| {key} | {_cell(value)} |' for key, value in parts.items() if value)
    # A value of JSON is one of YAML.
    return ('---\n' + ''.join(f'{key}: {json.dumps(value)}\n' for key, value in front.items())
            + f'---\n\n# {name}\n\nA vision transformer, pre-trained without labels by amt_mm.\n\n'
            + f'## Recipe\n\n| | |\n|---|---|\n{table}\n\n'
            + 'The checkpoint holds the complete config.\n\n'
            + _FIGURES + (_bullets(figures) if figures else _NOT_MEASURED)
            + dedent(f'''
            ## Use

            ```bash
            amt embed {file} IMAGES features.npz
            amt export {file} --to timm --out exports/timm
            amt evaluate {file} --data LABELLED_IMAGES
            ```

            ```python
            import timm

            encoder = timm.create_model('local-dir:exports/timm', pretrained=True)
            ```
            '''))


def add_figures(card: Path, figures: Sequence[str]) -> None:
    """Add figures to a card, if there is one; a card without that section is left as it is."""
    if not card.is_file():
        return
    head, section, rest = card.read_text(encoding='utf-8').partition(_FIGURES)
    if section and figures:
        write_text(card, head + section + _bullets(figures) + rest.removeprefix(_NOT_MEASURED))


def _bullets(lines: Sequence[str]) -> str:
    return ''.join(f'- {line}\n' for line in lines)


def _recipe(runner: Runner) -> dict[str, str]:
    """What was trained, on what, and how; '' for what does not apply or is not known."""
    model, cfg = unwrapped(runner), runner.cfg
    vit = model.backbone
    preprocessor = getattr(model, 'data_preprocessor', None)
    generator = getattr(preprocessor, 'mask_generator', None) or getattr(model, 'masking', None)
    weights = sum(parameter.numel() for parameter in vit.parameters())
    patch = vit.patch_embed.projection.kernel_size[0]
    wrapper = runner.optim_wrapper
    optimiser = (cfg.get('optim_wrapper') or {}).get('optimizer')
    return {
        'method': type(model).__name__,
        'encoder': f'{len(vit.layers)} blocks of width {vit.embed_dims}, patches of {patch} '
                   f'pixels, {weights / 1e6:.1f} M parameters',
        'images': f'{vit.img_size[0]} x {vit.img_size[1]} pixels',
        'data': _data(runner),
        'masks': _call(mask_config(cfg)) or (type(generator).__name__ if generator else ''),
        'maps': ', '.join(_maps(hook, cfg) for hook in runner.hooks if isinstance(hook, MapHook)),
        'training': training_length(runner),
        'optimiser': _call(optimiser) or type(getattr(wrapper, 'optimizer', wrapper)).__name__,
        'precision': type(wrapper).__name__,
        'seed': str(runner.seed),
        'config': _text(Path(getattr(cfg, 'filename', None) or '').name),
        'software': f'amt_mm {__version__}, torch {torch.__version__}, '
                    f'mmpretrain {mmpretrain.__version__}'}


def _data(runner: Runner) -> str:
    dataset = runner.train_dataloader.dataset
    known = ''
    # Joined data sets whose samples share numbers have no identity.
    with suppress(InputError, AttributeError):
        known = f', fingerprint `{dataset_fingerprint(dataset)}` (names and their order)'
    return f'{len(dataset):,} images{known}'


def _maps(hook: Hook, cfg: Mapping) -> str:
    name = type(hook).__name__
    return _call(next((each for each in cfg.get('custom_hooks') or ()
                       if class_name(each) == name), None)) or name


def _call(config: object) -> str:
    """A config as the call that it stands for, in code."""
    if not isinstance(config, Mapping) or not config:
        return ''
    settings = ', '.join(f'{key}={_public(value)!r}' for key, value in config.items()
                         if key not in ('type', '_scope_'))
    # Markdown has no escape for one within code.
    return '`' + one_line(f'{class_name(config)}({settings})').replace('`', "'") + '`'


def _public(value: object) -> object:
    """Leave out where a file lies on this machine."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _text(name: str) -> str:
    """The name of a file as text of Markdown, in which HTML is what it says."""
    return escape(one_line(name), quote=False)


def _cell(text: str) -> str:
    return ' '.join(text.replace('|', r'\|').split())
