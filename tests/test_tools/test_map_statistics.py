"""map_statistics: each number against a case whose answer is known, or scipy's."""

import json
import sys
from pathlib import Path

import pytest
import torch
from load_script import load_script
from scipy.stats import spearmanr

from amt_mm.masking import AMTMaskGenerator
from amt_mm.saliency import SaliencyWriter

TOOL = Path(__file__).parents[2] / 'tools/analysis_tools/map_statistics.py'


@pytest.fixture(scope='module')
def tool():
    return load_script(TOOL)


def test_border_share(tool):
    even = torch.ones(3, 5, 7)
    share, cells = tool.border_share(even)
    assert share == pytest.approx(20 / 35) and cells == pytest.approx(20 / 35)
    middle = torch.zeros(3, 5, 7)
    middle[:, 2, 3] = 1
    assert tool.border_share(middle)[0] == 0


def test_explained_by_position(tool):
    generator = torch.Generator().manual_seed(0)
    same = torch.rand(1, 5, 7, generator=generator).expand(50, -1, -1)
    assert tool.explained_by_position(same) == pytest.approx(1)
    assert tool.explained_by_position(torch.rand(500, 5, 7, generator=generator)) < .01


def test_agreement_is_the_mean_rank_correlation(tool):
    generator = torch.Generator().manual_seed(0)
    maps, others = torch.rand(2, 9, 5, 7, generator=generator)
    wanted = [spearmanr(a.flatten(), b.flatten()).statistic
              for a, b in zip(maps, others, strict=True)]
    assert tool.agreement(maps, others) == pytest.approx(sum(wanted) / 9, abs=1e-5)


def test_agreement_of_maps_of_two_grids(tool):
    """A slope across the image ranks columns alike on any grid."""
    slopes = [torch.linspace(0, 1, n).expand(3, 4, n) for n in (7, 5)]
    assert tool.agreement(*slopes) == pytest.approx(1, abs=1e-6)


def test_visible_frequency(tool):
    even = tool.visible_frequency(torch.ones(40, 5, 7), AMTMaskGenerator(), draws=100)
    # 35 tokens: 15 masked, 14 thrown, 6 visible.
    assert even.mean() == pytest.approx(6 / 35)
    assert (even - 6 / 35).abs().max() < .2
    peaked = torch.full((4, 5, 7), .01)
    peaked[:, 0, 0] = 1
    assert tool.visible_frequency(peaked, AMTMaskGenerator(), draws=100)[:, 0].max() < .05


def test_the_table(tool, tmp_path, monkeypatch, capsys):
    for step in (9, 30):
        writer = SaliencyWriter(tmp_path / f'epoch_{step}.amtmap', 6, (5, 7), 'x', step)
        writer.write(torch.arange(6), torch.rand(6, 35))
        writer.commit()
    monkeypatch.setattr(sys, 'argv', ['map_statistics.py', str(tmp_path), '--draws', '5'])
    tool.main()
    rows = json.loads((tmp_path / 'statistics.json').read_text())['rows']
    assert [row['step'] for row in rows] == [9, 30]
    assert rows[0]['agreement'] is None and abs(rows[1]['agreement']) < 1
    assert '| 30' in capsys.readouterr().out
