"""A study that trains in a second: 12 and 20 generated scenes in batches of 8, 4 epochs."""

import json

from amt_mm import shipped

CONFIGS = shipped.configs_folder()
BASE = f'''
_base_ = [{str(CONFIGS / '_base_/models/mae_vit-mini-p8_64px.py')!r},
          {str(CONFIGS / '_base_/datasets/scenes_64px.py')!r},
          {str(CONFIGS / '_base_/schedules/mini_adamw-coslr-30e.py')!r}]
model = dict(
    backbone=dict(arch=dict(embed_dims=24, num_layers=1, feedforward_channels=24)),
    neck=dict(decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2))
train_dataloader = dict(batch_size=8, dataset=dict(num_samples=NUMBER))
probe = dict(train=dict(num_samples=40), test=dict(num_samples=30))
param_scheduler = [
    dict(type='LinearLR', start_factor=.1, by_epoch=True, begin=0, end=1),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=1, end=4, T_max=3)]
train_cfg = dict(max_epochs=4)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=1))
'''
RANDOM, AMT = (str(CONFIGS / f'_base_/amt/mae-{name}.py') for name in ('random', 'amt'))
RECIPES = {
    'random': dict(overlay=RANDOM),
    'AMT, equal': dict(
        overlay=AMT, budget='compute', shares={
            'overlay.hooks.saliency.begin': .27, 'overlay.hooks.saliency.interval': .27})}


def write_study(folder, seeds=(0, 1), datasets=('a', 'b'), recipes=None, baseline='random',
                **others):
    """Write a study and its base configs; its file."""
    for name, number in zip(('a', 'b'), (20, 12), strict=True):
        (folder / f'{name}.py').write_text(BASE.replace('NUMBER', str(number)))
    settings = dict(baseline=baseline, seeds=list(seeds), recipes=recipes or RECIPES,
                    datasets={name: f'{name}.py' for name in datasets}, **others)
    file = folder / 'toy.py'
    file.write_text(''.join(f'{name} = {value!r}\n' for name, value in settings.items()))
    return file


def lines(work_dir):
    """The records in runs.jsonl."""
    return [json.loads(line) for line in (work_dir / 'runs.jsonl').read_text().splitlines()]
