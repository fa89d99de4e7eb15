"""What a checkpoint tells about its pre-training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from mmpretrain.models import VisionTransformer
from torch import Tensor

from amt_mm.checkpoints import choose_encoder, convert, read_checkpoint
from amt_mm.checkpoints.dinov3 import PERIODS
from amt_mm.checks import is_number
from amt_mm.config_parts import class_name, mask_config, section, sections
from amt_mm.errors import InputError
from amt_mm.json_files import parse_json

# Class of the model in a config -> the host's name in the paper.
_HOSTS = {'MAE': 'MAE', 'AMTMAE': 'MAE', 'AMTSimMIM': 'SimMIM', 'MaskFeat': 'MaskFeat',
          'AMTMaskFeat': 'MaskFeat', 'IBOT': 'iBOT'}
_DEFAULT_RATIOS = {'RandomMaskGenerator': dict(mask_ratio=0.75, throw_ratio=0.0),
                   'AMTMaskGenerator': dict(mask_ratio=0.45, throw_ratio=0.40)}
# Naming of releases that carry no config -> host.
_RELEASES = {'mae': 'MAE', 'simmim': 'SimMIM', 'ibot': 'iBOT', 'dino': 'DINO',
             'dinov2': 'DINOv2', 'transformers-dinov2': 'DINOv2', 'dinov3': 'DINOv3',
             'transformers-dinov3': 'DINOv3', 'timm-dinov3': 'DINOv3'}
# Masking strategy of iBOT -> suffix of the recipe; block masks are iBOT's own.
_STRATEGIES = {'random': ', random masks', 'high': ' + AttMask-High', 'hint': ' + AttMask-Hint',
               'low': ' + AttMask-Low', 'sampled': ' + AMT'}
# Host, mask generator, masking and throwing ratio -> row of Table 1.
_ROWS = {
    ('MAE', 'RandomMaskGenerator', 0.75, 0.0): 'MAE',
    ('MAE', 'AMTMaskGenerator', 0.75, 0.0): 'MAE + AM',
    ('MAE', 'AMTMaskGenerator', 0.45, 0.40): 'MAE + AMT',
    ('SimMIM', 'RandomMaskGenerator', 0.60, 0.0): 'SimMIM',
    ('SimMIM', 'AMTMaskGenerator', 0.60, 0.0): 'SimMIM + AM',
    ('SimMIM', 'AMTMaskGenerator', 0.44, 0.26): 'SimMIM + AMT',
}
_PATCHES, _REGISTERS = 'backbone.patch_embed.projection.weight', 'backbone.pre_norm.tokens'
# The most heads, and the longest side of an image, that a config beside the weights is believed.
_LARGEST = 4096
# First layer of a gated MLP.
_GATED = 'backbone.layers.0.ffn.w12.weight'
# Further settings of all rows in the paper: another value makes another recipe.
_PAPERS = {
    'AMTMAE': dict(cls_loss_weight=0.0, hog_loss_weight=0.0),
    'AMTMAEViT': dict(num_registers=0, rotary=False, skip_layers=(), frozen_stages=0),
    'AMTMAEDecoder': dict(cross_attention=False),
    'AMTSimMIMViT': dict(num_registers=0, rotary=False, frozen_stages=0),
    'AMTMaskGenerator': dict(throw='middle', mask='high', visible='ranked', weighting=None,
                             hint_ratio=0.0, warmup_throw_ratio=0.0),
    'SaliencyUpdateHook': dict(source='cls', layers='last', normalize='map', debias=False)}
# Of the norms of mmpretrain's transformers.
_EPSILON = 1e-6
_SIZES = ('embed_dims', 'num_layers', 'num_heads', 'feedforward_channels')
_LEARNT_BY = ('model', 'data_preprocessor', 'train_dataloader', 'optim_wrapper',
              'param_scheduler', 'train_cfg', 'custom_hooks')


@dataclass(frozen=True)
class Pretraining:
    """A pre-trained vision transformer, as an evaluation config needs to know it.

    Attributes:
        host: Method, such as ``'MAE'``; None if the file does not tell.
        recipe: Row of the paper's Table 1, such as ``'MAE + AMT'``, or iBOT or DINO with its
            masks, such as ``'iBOT + AttMask-High'``; None for other recipes and if the file does
            not tell.
        backbone: Entries of ``model.backbone``: ``arch``, ``patch_size`` and, with LayerScale,
            ``layer_scale_init_value``, without [CLS], ``with_cls_token``, with registers,
            ``num_registers``, with gated MLPs, ``layer_cfgs``, with rotary positions, ``rotary``,
            with norms of another epsilon than mmpretrain's, ``norm_cfg``, with other than 3
            channels, ``patch_cfg``; empty if the config decides.
        image_size: Side of the square training images; None if the file does not tell.
        settings: Identical for runs of one recipe that differ in their seed; None if the file
            does not tell.
        pixels: How image files were read, for ``overlay.pixels``; None for photographs.
    """

    host: str | None
    recipe: str | None
    backbone: dict
    image_size: int | None
    settings: str | None = None
    pixels: dict | None = None

    @property
    def row(self) -> str | None:
        """Row of Table 1 that it is comparable with; those are of ViT-B/16."""
        base = self.backbone.get('arch') in ('b', 'base') and self.backbone['patch_size'] == 16
        return self.recipe if base else None


def describe(path: Path, encoder: str | None = None) -> Pretraining:
    """Read the transformer, method and recipe of a checkpoint; ``none`` means random weights.

    OpenMMLab checkpoints carry their config. For others, the shapes of the weights identify the
    transformer if it is a standard one; for ``.safetensors``, a ``config.json`` of timm or
    transformers beside it tells the heads of others, and the image size.

    Args:
        path: A checkpoint in any naming that :func:`amt_mm.checkpoints.convert` knows.
        encoder: See :func:`amt_mm.checkpoints.choose_encoder`.

    Raises:
        InputError: Not a checkpoint, not a vision transformer, a non-standard one without a
            config, or no such encoder.
    """
    if str(path) == 'none':
        if encoder is not None:
            raise InputError(f'--encoder {encoder}: random weights (none) have no teacher or '
                             'student')
        return Pretraining(None, 'random init', {}, None)
    checkpoint = read_checkpoint(path, encoder)
    model = section(checkpoint.config.get('model'))
    backbone = section(model.get('backbone'))
    try:
        state, naming, *_ = convert(checkpoint.state, 'mmpretrain')
        chosen, _ = choose_encoder(state, None if checkpoint.notes else encoder)
        state = {new: state[old] for new, old in chosen.items()}
    except InputError as error:
        raise InputError(f'{path}: {error}') from error
    _, channels, _, patch_size = _shape(path, state, _PATCHES, 4)
    beside = {} if backbone else _beside(path)
    sizes = _sizes(path, state)
    arch = (_recorded_arch(path, backbone['arch']) if backbone.get('arch')
            else _standard_arch(path, state, sizes, beside.get('heads')))
    size = backbone.get('img_size', 224) if backbone else beside.get('size')
    _check_recorded(path, state, sizes, patch_size, arch,
                    backbone.get('img_size', beside.get('size')))
    own = {'arch': arch, 'patch_size': patch_size}
    if any('.gamma' in key for key in state):
        # Any value; the checkpoint's weights replace it.
        own['layer_scale_init_value'] = 0.1
    if channels != 3:
        own['patch_cfg'] = {'in_channels': channels}
    if _REGISTERS in state:
        own['num_registers'] = _shape(path, state, _REGISTERS, 3)[1]
    if _GATED in state:
        own['layer_cfgs'] = {'ffn_type': 'swiglu_fused'}
    if PERIODS in state:
        own['rotary'] = True
    # DINOv3's norms have another epsilon than other transformers; a config tells its own.
    epsilon = (section(backbone.get('norm_cfg')).get('eps', _EPSILON) if backbone
               else 1e-5 if PERIODS in state else _EPSILON)
    if epsilon != _EPSILON and is_number(epsilon) and 0 < epsilon < 1:
        own['norm_cfg'] = {'type': 'LN', 'eps': epsilon}
    if 'backbone.cls_token' not in state:
        own['with_cls_token'] = False
    return Pretraining(
        host=_HOSTS.get(class_name(model), _RELEASES.get(naming)),
        recipe=_recipe(checkpoint.config),
        backbone=own,
        image_size=size if isinstance(size, int) else None,
        settings=_settings(checkpoint.config, path),
        pixels=checkpoint.config.get('pixels'))


def _settings(config: Mapping, path: Path) -> str | None:
    # All that decides the weights but the seed; the file name gives the epoch.
    return repr((path.stem, [config.get(part) for part in _LEARNT_BY])) if config else None


def _recipe(config: Mapping) -> str | None:
    model, generator = section(config.get('model')), mask_config(config)
    host = _HOSTS.get(class_name(model))
    if host == 'iBOT':
        strategy = str(generator.get('strategy'))
        if model.get('patch_weight', 1.0):
            return host + _STRATEGIES.get(strategy, '')
        return 'DINO' + (', block masks' if strategy == 'block' else _STRATEGIES.get(strategy, ''))
    generator = generator or {'type': 'RandomMaskGenerator',
                              'mask_ratio': section(model.get('backbone')).get('mask_ratio', 0.75)}
    hooks = sections(config.get('custom_hooks'))
    parts = (model, section(model.get('backbone')), section(model.get('neck')), generator, *hooks)
    if any(part.get(name, default) != default for part in parts
           for name, default in _PAPERS.get(class_name(part), {}).items()):
        return None
    kind = class_name(generator)
    if kind == 'AMTMaskGenerator' and 'SaliencyUpdateHook' not in map(class_name, hooks):
        return None  # maps that are not the attention of the encoder
    ratios = {**_DEFAULT_RATIOS.get(kind, {}), **generator}
    found = host, kind, ratios.get('mask_ratio'), ratios.get('throw_ratio')
    # Compared, not looked up: a config may hold lists there.
    return next((row for key, row in _ROWS.items() if key == found), None)


def _recorded_arch(path: Path, arch: object) -> str | dict[str, int]:
    """The architecture in a config: a name that mmpretrain knows, or the four sizes alone."""
    if isinstance(arch, str) and arch.lower() in VisionTransformer.arch_zoo:
        return arch
    sizes = {name: section(arch).get(name) for name in _SIZES}
    if all(type(size) is int and size > 0 for size in sizes.values()):
        return sizes
    raise InputError(f'{path}: model.backbone.arch={str(arch)[:60]!r} in its config is neither a '
                     f'name that mmpretrain knows nor whole numbers for {", ".join(_SIZES)}')


def _check_recorded(path: Path, state: Mapping[str, Tensor], sizes: tuple[int, int, int],
                    patch: int, arch: str | dict, size: object) -> None:
    """Refuse sizes in the config that the weights do not have.

    A number costs nothing there, and a model of that size may take all the memory.
    """
    width, depth, hidden = sizes
    if isinstance(arch, dict):
        own = {'embed_dims': width, 'num_layers': depth}
        if _GATED not in state:
            own['feedforward_channels'] = hidden
        wrong = next((name for name, found in own.items() if arch[name] != found), None)
        if wrong:
            raise InputError(f'{path}: model.backbone.arch.{wrong}={arch[wrong]} in its config, '
                             f'and {own[wrong]} in its weights: use another checkpoint')
    positions = state.get('backbone.pos_embed')
    if isinstance(size, int) and positions is not None:
        count = positions.shape[:-1].numel()
        # Where patches do not divide the image, some transformers pad it, others cut the edge.
        if count not in {side**2 + cls for side in (size // patch, -(-size // patch))
                         for cls in (0, 1)}:
            raise InputError(f'{path}: model.backbone.img_size={size} in its config, and '
                             f'{count} position embeddings: use another checkpoint')


def _beside(path: Path) -> dict[str, int]:
    """What the ``config.json`` of timm or transformers says beside its weights.

    Returns:
        ``heads`` and ``size``, side of the images in pixels; what it does not say is absent.
    """
    file = path.with_name('config.json')
    if path.suffix != '.safetensors' or not file.is_file():
        return {}
    try:
        config = section(parse_json(file.read_text(encoding='utf-8')))
    except (OSError, ValueError) as error:
        raise InputError(f'{file}: cannot be read: {error}') from error
    arguments = section(config.get('model_args'))
    found = {'heads': arguments.get('num_heads', config.get('num_attention_heads')),
             'size': arguments.get('img_size', config.get('image_size'))}
    return {name: value for name, value in found.items()
            if type(value) is int and 0 < value <= _LARGEST}


def _sizes(path: Path, state: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Width, depth and width of the MLPs."""
    depth = len({key.split('.')[2] for key in state if key.startswith('backbone.layers.')})
    # mmpretrain takes the width of a plain MLP with as many weights.
    hidden = (_shape(path, state, _GATED, 2)[0] * 3 // 4 if _GATED in state else
              _shape(path, state, 'backbone.layers.0.ffn.layers.0.0.weight', 2)[0])
    return _shape(path, state, _PATCHES, 4)[0], depth, hidden


def _shape(path: Path, state: Mapping[str, Tensor], name: str, ndim: int) -> torch.Size:
    """Shape of an entry.

    Raises:
        InputError: It is missing, empty or of another number of axes.
    """
    value = state.get(name)
    if value is None or value.ndim != ndim or not value.numel():
        raise InputError(f'{path}: not a vision transformer: `{name}` is missing or not a tensor '
                         f'of {ndim} axes')
    return value.shape


def _standard_arch(path: Path, state: Mapping[str, Tensor], sizes: tuple[int, int, int],
                   heads: int | None) -> str | dict:
    width, depth, hidden = sizes
    if PERIODS in state:
        return dict(embed_dims=width, num_layers=depth, feedforward_channels=hidden,
                    num_heads=max(1, width // (4 * _shape(path, state, PERIODS, 1)[0])))
    for name, known in VisionTransformer.arch_zoo.items():
        if sizes == (known['embed_dims'], known['num_layers'], known['feedforward_channels']) and (
                heads in (None, known['num_heads'])):
            return name
    if heads and width % heads == 0:
        return dict(embed_dims=width, num_layers=depth, num_heads=heads,
                    feedforward_channels=hidden)
    raise InputError(f'{path}: a transformer of {depth} blocks of width {width} is not a standard '
                     'one, and the file has no config that gives its number of heads: set '
                     'model.backbone.arch in a config of your own')
