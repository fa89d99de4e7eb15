"""Write the encoder of a checkpoint for other libraries, with all that loading needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amt_mm.checkpoints import convert, write_checkpoint
from amt_mm.checkpoints.output import require_writable
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.errors import InputError
from amt_mm.models.recorded_mae import build_mae

from .encoder import LoadedEncoder, load_encoder
from .torch_encoder import write_torch

# Width, depth, heads, hidden width and patch -> timm's name; others are its ViT-B with arguments.
_TIMM = {
    (192, 12, 3, 768, 16): 'vit_tiny_patch16_224', (384, 12, 6, 1536, 16): 'vit_small_patch16_224',
    (768, 12, 12, 3072, 16): 'vit_base_patch16_224',
    (1024, 24, 16, 4096, 16): 'vit_large_patch16_224',
    (1280, 32, 16, 5120, 14): 'vit_huge_patch14_224',
}
# Of an encoder or a decoder in transformers.
_FILES = ('model.safetensors', 'config.json', 'preprocessor_config.json')


def export(checkpoint: Path, to: str, out: Path, image_size: int | None = None,
           encoder: str | None = None, force: bool = False, int8: bool = False) -> list[str]:
    """Write the encoder of a checkpoint into a folder from which another library loads it.

    Args:
        checkpoint: Any that evaluation reads, see :func:`amt_mm.checkpoints.describe.describe`.
        to: One of :data:`amt_mm.names.EXPORTS`.
        out: The folder.
        image_size: Side in pixels, to which position embeddings are resized. Defaults to None: that
            of the pre-training, or 224.
        encoder: ``'teacher'`` or ``'student'`` of a checkpoint that has both. Defaults to None: the
            teacher.
        force: Replace files of these names in ``out``. Defaults to False: refuse.
        int8: Compute linear layers in 8 bits, see :func:`~amt_mm.apis.onnx_encoder.write_onnx`; for
            ONNX only. Defaults to False.

    Returns:
        Lines to say: how to load it, and remarks.

    Raises:
        InputError: No such checkpoint or encoder, a network that the library lacks, a missing
            package, ``int8`` for another format than ONNX, or files that are there already or
            cannot be written.
    """
    write, *names = {'timm': (_timm, *_FILES[:2]),
                     'transformers': (_transformers, *_FILES, *(f'mae/{name}' for name in _FILES)),
                     'onnx': (partial(_onnx, int8=int8), 'model.onnx'),
                     'torch': (_torch, 'model.pt2')}[to]
    if int8 and to != 'onnx':
        raise InputError(f'--int8 is for --to onnx, not {to}')
    there = [out / name for name in names if (out / name).exists()]
    if there and not force:
        raise InputError(f'{there[0]} exists: name another --out, or replace it with --force')
    require_writable(out / names[0])
    try:
        return write(load_encoder(checkpoint, image_size, encoder), out)
    except InputError as error:
        prefix = '' if str(error).startswith(str(checkpoint)) else f'{checkpoint}: '
        raise InputError(f'{prefix}{error}') from error


def _timm(loaded: LoadedEncoder, out: Path) -> list[str]:
    vit, size = loaded.model.backbone, _sizes(loaded)
    mean, std = _statistics(loaded)
    gated = _is_gated(vit)
    settings = dict(
        img_size=vit.img_size[0], patch_size=size['patch_size'], embed_dim=vit.embed_dims,
        depth=size['depth'], num_heads=size['heads'], mlp_ratio=size['hidden'] / vit.embed_dims,
        global_pool=_timm_pool(loaded),
        **({'in_chans': loaded.channels} if loaded.channels != 3 else {}))
    if vit.rotary is not None:
        state, notes = _state(loaded, 'timm-dinov3')
        name = 'vit_small_plus_patch16_dinov3_qkvb' if gated else 'vit_small_patch16_dinov3_qkvb'
        settings['num_reg_tokens'] = vit.num_registers
    else:
        state, notes = _state(loaded, 'timm')
        if vit.num_registers:
            positions = state['pos_embed']
            state['cls_token'] = state['cls_token'] + positions[:, :1]
            state['pos_embed'] = positions[:, 1:].contiguous()
        name = _TIMM.get((*size.values(), ), 'vit_base_patch16_224')
        if gated:
            # Its first layer has the outputs of both.
            name, settings['mlp_ratio'] = 'vit_giant_patch14_dinov2', 2 * settings['mlp_ratio']
        settings.update(
            class_token=loaded.has_cls,
            # The final norm comes before the mean, as in evaluation here.
            fc_norm=False,
            # Any value; it is replaced by the weights.
            **({'init_values': 1.} if _has_layer_scale(vit) else {}),
            # timm has positions for all tokens before the patches or for none of them. Here, [CLS]
            # alone has one, which is added to the token.
            **({'reg_tokens': vit.num_registers, 'no_embed_class': True} if vit.num_registers
               else {}))
    _remove_beside(out)
    write_checkpoint(out / 'model.safetensors', state)
    _write_json(out / 'config.json', dict(
        architecture=name, num_classes=0, num_features=vit.embed_dims,
        global_pool=_timm_pool(loaded), model_args=settings,
        pretrained_cfg=dict(
            input_size=[loaded.channels, *vit.img_size], num_classes=0, mean=mean, std=std,
            crop_mode='center', crop_pct=vit.img_size[0] / _edge(loaded), interpolation='bicubic',
            first_conv='patch_embed.proj', classifier='head')))
    return [f"load: timm.create_model('local-dir:{out}', pretrained=True)", *notes]


def _timm_pool(loaded: LoadedEncoder) -> str:
    return {'mean': 'avg', 'cls': 'token'}[loaded.pooling]


def _transformers(loaded: LoadedEncoder, out: Path) -> list[str]:
    if not loaded.has_cls:
        raise InputError('an encoder without [CLS] has no counterpart in transformers: export it '
                         'to timm')
    mean, std = _statistics(loaded)
    vit, size = loaded.model.backbone, _sizes(loaded)
    side = vit.img_size[0]
    encoder = dict(
        hidden_size=vit.embed_dims, num_hidden_layers=size['depth'],
        num_attention_heads=size['heads'], hidden_act='gelu', hidden_dropout_prob=0.,
        attention_probs_dropout_prob=0., layer_norm_eps=vit.ln1.eps, image_size=side,
        patch_size=size['patch_size'], num_channels=loaded.channels, qkv_bias=True)
    # Of all processors there, this one scales the short edge and cuts the centre out.
    images = dict(
        image_processor_type='BitImageProcessor',
        do_convert_rgb=loaded.channels == 3, do_resize=True,
        size=dict(shortest_edge=_edge(loaded)), resample=3, do_center_crop=True,
        crop_size=dict(height=side, width=side), do_rescale=True, rescale_factor=1 / 255,
        do_normalize=True, image_mean=mean, image_std=std)
    if vit.rotary is not None:
        return _transformers_dinov3(loaded, out, encoder, images)
    if _has_layer_scale(vit):
        kind, model = (('dinov2_with_registers', 'Dinov2WithRegistersModel') if vit.num_registers
                       else ('dinov2', 'Dinov2Model'))
        gated = _is_gated(vit)
        # There, the width of a plain MLP with as many weights.
        hidden = size['hidden'] * 3 // 2 if gated else size['hidden']
        if hidden % vit.embed_dims:
            raise InputError(f'DINOv2 in transformers has a hidden width that is a multiple of '
                             f'{vit.embed_dims}, not {hidden}: export it to timm')
        state, _ = _state(loaded, 'transformers-dinov2')
        # It is built with one, of which an encoder has no use.
        state['embeddings.mask_token'] = torch.zeros(1, vit.embed_dims)
        _write_folder(out, state, dict(
            architectures=[model], model_type=kind, mlp_ratio=hidden // vit.embed_dims,
            use_swiglu_ffn=gated,
            **({'num_register_tokens': vit.num_registers} if vit.num_registers else {}),
            **encoder), images)
        return [f"load: transformers.{model}.from_pretrained('{out}')",
                *(['note: without decoder: the MAE of transformers has no LayerScale']
                  if loaded.pretraining.host == 'MAE' else [])]
    encoder['intermediate_size'] = size['hidden']
    # ViTModel's own files have no prefix.
    state = {name.removeprefix('vit.'): value
             for name, value in _state(loaded, 'transformers')[0].items()}
    _write_folder(out, state, dict(architectures=['ViTModel'], model_type='vit', **encoder), images)
    lines = [f"load: transformers.ViTModel.from_pretrained('{out}', add_pooling_layer=False)"]
    try:
        mae = build_mae(loaded.content, loaded.pretraining.backbone, side)
    except InputError as error:
        return [*lines, f'note: without decoder: {error}']
    if mae is None:
        return lines
    if mae.backbone.skip_layers:
        return [*lines, 'note: without decoder: it reads several blocks (skip_layers), which '
                        "transformers' does not"]
    if mae.neck.cross_attention:
        return [*lines, "note: without decoder: transformers' has no cross-attention"]
    neck, norm_pix = mae.neck, mae.head.norm_pix
    block = neck.decoder_blocks[0]
    _write_folder(out / 'mae', convert(mae.state_dict(), 'transformers').state, dict(
        architectures=['ViTMAEForPreTraining'], model_type='vit_mae', **encoder,
        decoder_hidden_size=neck.decoder_embed.out_features,
        decoder_num_hidden_layers=len(neck.decoder_blocks),
        decoder_num_attention_heads=block.attn.num_heads,
        decoder_intermediate_size=block.ffn.layers[0][0].out_features,
        norm_pix_loss=bool(norm_pix)), images)
    lines.append(f"load: transformers.ViTMAEForPreTraining.from_pretrained('{out / 'mae'}')")
    if norm_pix is None:
        lines.append('note: the file does not tell whether targets were normalised: norm_pix_loss '
                     'is False in config.json')
    return lines


def _transformers_dinov3(loaded: LoadedEncoder, out: Path, encoder: Mapping[str, Any],
                         images: Mapping[str, Any]) -> list[str]:
    vit, gated = loaded.model.backbone, _is_gated(loaded.model.backbone)
    if not _has_layer_scale(vit):
        raise InputError('DINOv3 in transformers has LayerScale, which this encoder lacks: export '
                         'it to onnx or torch')
    state, notes = _state(loaded, 'transformers-dinov3')
    # It is built with one, of which an encoder has no use.
    state['embeddings.mask_token'] = torch.zeros(1, 1, vit.embed_dims)
    config = {key: value for key, value in encoder.items()
              if key not in ('hidden_dropout_prob', 'attention_probs_dropout_prob', 'qkv_bias')}
    _write_folder(out, state, dict(
        config, architectures=['DINOv3ViTModel'], model_type='dinov3_vit',
        intermediate_size=_sizes(loaded)['hidden'], use_gated_mlp=gated,
        hidden_act='silu' if gated else 'gelu', num_register_tokens=vit.num_registers,
        query_bias=True, value_bias=True,
        key_bias='layer.0.attention.k_proj.bias' in state), images)
    return [f"load: transformers.DINOv3ViTModel.from_pretrained('{out}')", *notes]


def _onnx(loaded: LoadedEncoder, out: Path, int8: bool) -> list[str]:
    # Needs packages of its own.
    from .onnx_encoder import write_onnx
    return write_onnx(loaded, out / 'model.onnx', int8)


def _torch(loaded: LoadedEncoder, out: Path) -> list[str]:
    return write_torch(loaded, out / 'model.pt2')


def _state(loaded: LoadedEncoder, naming: str) -> tuple[dict[str, Tensor], list[str]]:
    """Weights of the encoder under other names, on the CPU, and remarks."""
    state = {f'backbone.{name}': value.cpu()
             for name, value in loaded.model.backbone.state_dict().items()}
    converted = convert(state, naming, encoder_only=True)
    return converted.state, [f'note: {note}' for note in converted.notes]


def _has_layer_scale(vit: nn.Module) -> bool:
    return hasattr(vit.layers[0].attn.gamma1, 'weight')


def _is_gated(vit: nn.Module) -> bool:
    return hasattr(vit.layers[0].ffn, 'w12')


def _sizes(loaded: LoadedEncoder) -> dict[str, int]:
    vit = loaded.model.backbone
    block = vit.layers[0]
    last = block.ffn.w3 if _is_gated(vit) else block.ffn.layers[1]
    return dict(width=vit.embed_dims, depth=len(vit.layers), heads=block.attn.num_heads,
                hidden=last.in_features, patch_size=vit.patch_embed.projection.kernel_size[0])


def _statistics(loaded: LoadedEncoder) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of pixels in [0, 1]."""
    preprocessor = loaded.cfg.data_preprocessor
    return ([value / 255 for value in preprocessor['mean']],
            [value / 255 for value in preprocessor['std']])


def _edge(loaded: LoadedEncoder) -> int:
    """Pixels of the short edge before the centre is cut out."""
    return next(step['scale'] for step in loaded.pipeline if step['type'] == 'ResizeEdge')


def _write_folder(folder: Path, state: Mapping[str, Tensor], config: Mapping[str, Any],
                  images: Mapping[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    _remove_beside(folder)
    write_checkpoint(folder / _FILES[0], state)
    _write_json(folder / _FILES[1], config)
    _write_json(folder / _FILES[2], images)


def _remove_beside(folder: Path) -> None:
    """Remove what an earlier export put beside its encoder; other files there are not ours."""
    if not (folder / _FILES[0]).exists():
        return
    for path in (folder / _FILES[2], *(folder / 'mae' / name for name in _FILES)):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        (folder / 'mae').rmdir()


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2) + '\n')
