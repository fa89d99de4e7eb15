"""docs/add_a_mask.md: its generator masks as it says, in the config that it shows."""

import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from load_script import load_script
from partitions import assert_partition

from amt_mm import shipped
from amt_mm.apis import comparison
from amt_mm.masking import AMTMaskGenerator
from amt_mm.registry import TASK_UTILS

PAGE = (Path(__file__).parents[2] / 'docs/add_a_mask.md').read_text()
GENERATOR, REGISTRATION, CONFIG = re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL)
FILES = re.findall(r'^\| `(\S+?)` \|', PAGE, re.MULTILINE)


@pytest.fixture
def banded(tmp_path):
    path = tmp_path / 'banded.py'
    path.write_text(GENERATOR)
    generator = load_script(path).BandedMaskGenerator
    yield generator
    TASK_UTILS._module_dict.pop('BandedMaskGenerator', None)


def test_it_needs_at_most_four_files():
    assert len(FILES) == len(set(FILES)) <= 4


def test_it_masks_whole_rows_by_the_law_of_their_weights(banded, toy_mae):
    weights = torch.tensor([1., 2, 3, 6, 1e-9]).repeat_interleave(7).expand(6000, -1)
    plan = banded(.4)(6000, (5, 7), weights, generator=torch.Generator().manual_seed(0))
    assert_partition(plan)
    assert plan.masked.shape[1] == 14 and plan.thrown.shape[1] == 0
    rows = plan.masked.sort(dim=1).values.unflatten(1, (2, 7))
    first = rows[:, :, :1]
    assert torch.equal(rows, first + torch.arange(7)) and not (first % 7).any()
    counts = Counter(map(tuple, (first[:, :, 0] // 7).tolist()))
    for (one, two), (a, b) in {(0, 1): (1, 2), (0, 3): (1, 6), (2, 3): (3, 6)}.items():
        law = a / 12 * b / (12 - a) + b / 12 * a / (12 - b)
        assert abs(counts[one, two] / 6000 - law) < 4 * (law * (1 - law) / 6000) ** .5
    plan = banded()(2, (5, 7), torch.rand(2, 35))
    loss = toy_mae()(torch.randn(2, 3, 40, 56), mode='loss', plan=plan)['loss']
    assert loss.isfinite() and plan.masked.shape[1] == 26


def test_the_config_of_the_page_builds_it(banded, tmp_path):
    assert REGISTRATION == 'TASK_UTILS.register_module(module=BandedMaskGenerator)\n'
    TASK_UTILS.register_module(module=banded)
    config, = (file for file in FILES if file.startswith('configs/'))
    folder = shipped.configs_folder()
    file = tmp_path / Path(config).name
    file.write_text(CONFIG.replace("'../", f"'{folder}/").replace("'./", f"'{folder}/clothing/"))
    cfg = comparison.resolved(str(file), {})
    generator = TASK_UTILS.build(cfg.data_preprocessor.mask_generator)
    assert type(generator) is banded and not isinstance(generator, AMTMaskGenerator)
    assert (generator.mask_ratio, generator.throw_ratio) == (.75, 0)
