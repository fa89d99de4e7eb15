"""Evaluate the encoder of a run on the labelled images of its config."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import set_random_seed
from mmpretrain.registry import MODELS
from torch import nn

from amt_mm.checkpoints.load_backbone import load_backbone
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.json_files import read_figures
from amt_mm.models.token_counts import tokens_per_image

from .jobs import run_tool

MEASURES_FILE = 'measures.json'


def build_model(cfg: Config, seed: int = 0) -> nn.Module:
    """Build and initialise the model of a resolved config, on a GPU if there is one."""
    # MMEngine logs how each parameter was initialised, in hundreds of lines.
    MMLogger.get_current_instance().setLevel('WARNING')
    set_random_seed(seed)
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    model.init_weights()
    return model.to('cuda' if torch.cuda.is_available() else 'cpu')


def judge_checkpoint(cfg: Config, checkpoint: Path | str, encoder: str | None = None) -> dict:
    """Evaluate the encoder of a checkpoint.

    Args:
        cfg: The resolved config of its pre-training, with ``probe``.
        checkpoint: Its file, or ``'none'`` for the encoder as the config's seed initialises it.
        encoder: Choice between teacher and student, see
            :func:`~amt_mm.checkpoints.load_backbone.load_backbone`.

    Returns:
        The measures.
    """
    # Slow to import, and this module is also imported by tools that only train.
    from amt_mm.evaluation.judge import judge
    model = build_model(cfg, cfg.get('randomness', {}).get('seed') or 0)
    if checkpoint != 'none':
        load_backbone(model, checkpoint, encoder)
    return {**judge(model, cfg), **tokens_per_image(model)}


def judge_into(work_dir: Path, cfg: Config, checkpoint: Path | str, encoder: str | None = None
               ) -> dict:
    """As :func:`judge_checkpoint`, and write ``measures.json`` of a folder."""
    measures = judge_checkpoint(cfg, checkpoint, encoder)
    write_text(work_dir / MEASURES_FILE, json.dumps(measures, indent=2) + '\n')
    return read_figures(work_dir / MEASURES_FILE)


def judge_in_a_process(work_dir: Path, settings: Path, checkpoint: Path | str,
                       encoder: str | None = None, threads: int | None = None) -> dict:
    """As :func:`judge_into`, by ``tools/judge.py`` on the file of the config.

    For runs that are evaluated at the same time: each gets ``threads``, see
    :func:`~amt_mm.apis.jobs.run_tool`.
    """
    run_tool('judge', [settings, checkpoint], ['--encoder', encoder] if encoder else [], work_dir,
             threads=threads, show=())
    return read_figures(work_dir / MEASURES_FILE)
