"""cost_table.py: the share of the refreshes stands beside configs that have some."""

import json
import sys
from pathlib import Path

import pytest
from load_script import load_script

ROOT = Path(__file__).parents[2]


def test_the_share_of_the_refreshes(tmp_path, monkeypatch):
    tool = load_script(ROOT / 'lab/cost_table.py')
    names = [ROOT / f'configs/clothing/{name}_vit-mini-p8_1xb128-coslr-30e_clothing.py'
             for name in ('mae', 'mae-amt')]
    monkeypatch.setattr(sys, 'argv', ['cost_table.py', *map(str, names), '--out',
                                      str(tmp_path / 'cost')])
    tool.main()
    rows = json.loads((tmp_path / 'cost.json').read_text())['rows']
    assert rows[0]['refresh'] is None
    # Refreshes before epochs 8, 16 and 24 of 30.
    assert rows[1]['refresh'] == pytest.approx(.09, abs=.01)
