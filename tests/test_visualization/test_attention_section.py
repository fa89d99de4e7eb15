"""Attention by block and head against full softmax matrices."""

import numpy as np
import torch
from shown_toys import BLOCKS, GRID, HEADS, WIDTH, toy_shown

from amt_mm.visualization.attention_section import attention_section
from amt_mm.visualization.attention_sheet import attention_sheet


def slow_attention(shown):
    """Attention of [CLS], (B, blocks, heads, h, w), from the outputs of each block's ``qkv``."""
    seen = []
    for layer in shown.vit.layers:
        layer.attn.qkv.register_forward_hook(lambda *given: seen.append(given[2]))
    with torch.no_grad():
        shown.vit(shown.inputs)
    found = np.empty((3, BLOCKS, HEADS, *GRID))
    each = WIDTH // HEADS
    for block, qkv in enumerate(seen):
        for image in range(3):
            for head in range(HEADS):
                rows = qkv[image].double().numpy()  # (36, 3 * WIDTH): queries, keys, values
                query = rows[0, head * each:(head + 1) * each]
                keys = rows[:, WIDTH + head * each:WIDTH + (head + 1) * each]
                weight = np.exp(keys @ query / each**.5)
                found[image, block, head] = (weight / weight.sum())[1:].reshape(GRID)
    return found


def test_the_sheets_are_of_the_attention_by_block_and_head(monkeypatch):
    shown, given = toy_shown(), []
    monkeypatch.setattr('amt_mm.visualization.attention_section.attention_sheet',
                        lambda image, maps: given.append(maps) or attention_sheet(image, maps))
    section = attention_section(shown, most=2)
    assert [row.name for row in section.rows] == ['a.jpg', 'c.jpg']
    np.testing.assert_allclose(np.stack(given), slow_attention(shown)[::2], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(section.rows[1].pictures[0].image,
                                  attention_sheet(shown.images[2], given[1]))


def test_without_cls_it_is_one_sentence():
    section = attention_section(toy_shown(with_cls_token=False))
    assert section.rows == () and len(section.text) == 1
    assert 'no [CLS] token' in section.text[0]
