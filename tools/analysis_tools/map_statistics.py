"""What the saliency maps of a run are like, refresh by refresh.

Prints, for each map file: how even the maps are (entropy), how much of them lies on the
border of the image, how much position alone explains, how much they agree with the
refresh before (rank correlation, and overlap of the most attended quarters), and how often
AMT would leave each patch of the whole image visible; where the objects are known, how
well the maps tell them from the background. Draws the mean map of each refresh.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from amt_mm.cli import arguments, parse_first
from amt_mm.names import MASKS, THROWS, VISIBLES

EXAMPLE = """
example:
  python tools/analysis_tools/map_statistics.py work_dirs/NAME/saliency
  python tools/analysis_tools/map_statistics.py work_dirs/NAME/saliency --weighting temperature=3
  python tools/analysis_tools/map_statistics.py \\
    work_dirs/mae-amt_vit-mini-p8_1xb128-coslr-24e_scenes/saliency \\
    --config configs/quickstart/mae-amt_vit-mini-p8_1xb128-coslr-24e_scenes.py
  python tools/analysis_tools/map_statistics.py work_dirs/NAME/saliency \\
    --config work_dirs/NAME/config.py --objects objects.npz
"""


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder of .amtmap files of one run')
    parser.add_argument('--config', help='config of the run: compares its maps with the objects of '
                        'its training images (default: no statistics of objects)')
    parser.add_argument('--objects', type=Path, metavar='FILE', help='where the objects of '
                        '--config are: an .npz file of maps of one size, with names '
                        '(docs/guidance.md); a value above the middle of its map means object '
                        '(default: the masks of generated scenes)')
    parser.add_argument('--mask-ratio', type=float, default=0.45, help='default: 0.45')
    parser.add_argument('--throw-ratio', type=float, default=0.40, help='default: 0.40')
    parser.add_argument('--throw', default='middle', choices=THROWS,
                        help='default: middle')
    parser.add_argument('--mask', default='high', choices=MASKS,
                        help='default: high')
    parser.add_argument('--visible', default='ranked', choices=VISIBLES,
                        help='default: ranked')
    parser.add_argument('--weighting', action=arguments.CfgOptions, nargs='+', metavar='KEY=VALUE',
                        help='settings of the ranking as in a config (docs/guidance.md), such as '
                        'temperature=3 uniform=0.2 (default: none, as in the paper)')
    parser.add_argument('--hint-ratio', type=float, default=0.0, help='default: 0')
    parser.add_argument('--draws', type=int, default=200,
                        help='plans drawn for each of 256 images (default: 200)')
    parser.add_argument('--out', type=Path, help='write the table to OUT.md and OUT.json '
                        'and the picture to OUT.svg and OUT.png (default: statistics, in the '
                        'folder)')
    return parser.parse_args()


if __name__ == '__main__':
    parse_first(parse_args)

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS
from torch import Tensor

from amt_mm.apis.launch import one_line_errors, require_writable
from amt_mm.config.reading import read_config
from amt_mm.datasets import base_dataset, dataset_fingerprint
from amt_mm.datasets.whole_image import sample_names
from amt_mm.errors import InputError
from amt_mm.evaluation import attention_on_object
from amt_mm.guidance.given_maps import GivenMaps
from amt_mm.masking import VISIBLE, AMTMaskGenerator, count_states, rank_by_weight
from amt_mm.saliency import SaliencyStore, entropy, rank_correlation, resample
from amt_mm.visualization import write_table
from amt_mm.visualization.figures import STYLE, save_figure


def border_share(maps: Tensor) -> tuple[float, float]:
    """Share of the maps' mass in the outermost ring of cells, and that ring's share of cells."""
    border = torch.ones(maps.shape[1:], dtype=torch.bool)
    border[1:-1, 1:-1] = False
    total = maps.sum(dim=(1, 2)).clamp_min(1e-12)
    share = (maps * border).sum(dim=(1, 2)) / total
    return float(share.mean()), float(border.float().mean())


def explained_by_position(maps: Tensor) -> float:
    """Share of the variance over cells and images that the mean map explains."""
    centred = maps - maps.mean()
    return float((maps.mean(dim=0) - maps.mean()).square().mean() / centred.square().mean())


def agreement(maps: Tensor, before: Tensor) -> float:
    """Mean over images of the rank correlation with maps that may have another grid."""
    return float(rank_correlation(maps, _on_grid(before, maps.shape[1:])).nanmean())


def overlap(maps: Tensor, before: Tensor) -> float:
    """Mean intersection over union of the most attended quarters of an image's cells.

    Without any relation about a seventh; maps that prefer nothing are left out.
    """
    before = _on_grid(before, maps.shape[1:])
    useful = (maps.amax(dim=(1, 2)) > 0) & (before.amax(dim=(1, 2)) > 0)
    tops = []
    for some in (maps[useful].flatten(1), before[useful].flatten(1)):
        order = rank_by_weight(some, torch.Generator().manual_seed(0))
        top = order[:, :max(1, round(some.shape[1] / 4))]
        tops.append(torch.zeros_like(some, dtype=torch.bool).scatter_(1, top, True))
    return float(((tops[0] & tops[1]).sum(dim=1) / (tops[0] | tops[1]).sum(dim=1)).mean())


def mean_maps_figure(means: Mapping[int, Tensor]) -> Figure:
    """The mean map of each refresh, its darkest cell the most attended; one scale for all."""
    top = max(float(mean.max()) for mean in means.values())
    with mpl.rc_context(STYLE):
        figure = Figure((1 + 2.2 * len(means), 2.6), layout='constrained')
        axes = figure.subplots(1, len(means), squeeze=False)[0]
        for one, (step, mean) in zip(axes, means.items(), strict=True):
            picture = one.imshow(mean.numpy(), cmap='Blues', vmin=0, vmax=top)
            one.set_title(f'refresh at {step}')
            one.set_axis_off()
        figure.colorbar(picture, ax=axes, label='mean saliency')
    return figure


def object_masks(config: str, objects: Path | None = None) -> tuple[Tensor, str]:
    """Masks of all training images of a config, ``(n, H, W)`` bool, and their fingerprint."""
    init_default_scope('mmpretrain')
    dataset = base_dataset(DATASETS.build(read_config(config).train_dataloader.dataset))
    if objects:
        masks = _given_masks(GivenMaps(objects), list(sample_names(dataset)))
    elif hasattr(dataset, 'object_mask'):
        masks = torch.from_numpy(np.stack([dataset.object_mask(i) for i in range(len(dataset))]))
    else:
        raise InputError(f'config {config}: its training images have no masks of objects; give '
                         '--objects, or leave --config out')
    return masks, dataset_fingerprint(dataset)


def _given_masks(given: GivenMaps, names: Sequence[str]) -> Tensor:
    given.check(names)
    if not given.grid:
        raise InputError(f'{given.path}: --objects takes an .npz file with the arrays names and '
                         'maps, all maps of one size')
    maps = torch.stack([given.read(name, given.grid) for name in names])
    return maps.unflatten(1, given.grid) > .5


def _on_grid(maps: Tensor, grid: torch.Size) -> Tensor:
    whole = torch.tensor([[0., 0., 1., 1.]]).expand(len(maps), -1)
    return maps if maps.shape[1:] == grid else resample(maps, whole, grid).unflatten(1, grid)


def visible_frequency(maps: Tensor, generator: AMTMaskGenerator, draws: int) -> Tensor:
    """How often a plan leaves each cell of each image visible, ``(images, cells)``."""
    grid = tuple(maps.shape[1:])
    source = torch.Generator().manual_seed(0)
    weights = maps.flatten(1)
    counts = count_states(
        lambda: generator(len(weights), grid, weights, generator=source).states(), draws)
    return counts[VISIBLE] / draws


def main() -> None:
    """Read the maps and print the table."""
    args = parse_args()
    if args.objects and not args.config:
        raise InputError('--objects needs --config, the config of the run')
    files = sorted(args.folder.glob('*.amtmap'),
                   key=lambda path: SaliencyStore(path, share=None).step)
    if not files:
        raise InputError(f'no .amtmap file in {args.folder}')
    out = args.out or args.folder / 'statistics'
    require_writable(out)
    generator = AMTMaskGenerator(args.mask_ratio, args.throw_ratio, args.throw, args.mask,
                                 args.visible, weighting=args.weighting, hint_ratio=args.hint_ratio)
    masks, identity = (
        object_masks(args.config, args.objects) if args.config else (None, None))
    rows, before, means = [], None, {}
    # Maps of two data sets have nothing to compare.
    identity = identity or SaliencyStore(files[0], share=None).fingerprint
    for file in files:
        store = SaliencyStore(file, identity)
        maps = store.lookup(torch.arange(store.num_samples))
        share, uniform = border_share(maps)
        some = maps[torch.linspace(0, len(maps) - 1, min(256, len(maps))).long()]
        seen = visible_frequency(some, generator, args.draws)
        rows.append({
            'step': store.step, 'entropy': float(entropy(maps.flatten(1)).mean()),
            'border': f'{share:.2f} ({uniform:.2f})', 'position': explained_by_position(maps),
            'agreement': None if before is None else agreement(maps, before),
            'overlap': None if before is None else overlap(maps, before),
            'never': float((seen < 0.01).float().mean()),
            'often': float((seen > 0.5).float().mean())})
        if masks is not None:
            mean = maps.mean(dim=0, keepdim=True).expand_as(maps)
            rows[-1]['object'], rows[-1]['by_position'] = (
                attention_on_object(each, masks).summary()['auroc'] for each in (maps, mean))
        before, means[store.step] = maps, maps.mean(dim=0)
    columns = {'step': 'refresh at', 'entropy': 'entropy, of uniform',
               'border': 'mass on border (of uniform)', 'position': 'explained by position',
               'agreement': 'rank correlation with the refresh before',
               'overlap': 'overlap of top quarters (by chance 0.14)',
               'never': 'patches visible under 1 % of the time', 'often': 'over 50 %'}
    formats = {'entropy': '.3f', 'position': '.2f', 'agreement': '.2f', 'overlap': '.2f',
               'never': '.1%', 'often': '.1%'}
    if masks is not None:
        columns['object'] = 'object above background (AUROC, by chance 0.50)'
        columns['by_position'] = 'the same by the mean map alone'
        formats.update(object='.2f', by_position='.2f')
    markdown, _ = write_table(out, rows, columns, formats)
    print(f'{markdown.read_text()}\nAlso drawn: {save_figure(mean_maps_figure(means), out)}')


if __name__ == '__main__':
    with one_line_errors():
        main()
