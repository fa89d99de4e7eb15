"""tokens_per_image against the tokens that the blocks of the three hosts see."""

import pytest
import torch
from three_hosts import GRID, SIZE, build_host

from amt_mm.models.token_counts import tokens_per_image


@pytest.mark.parametrize(('host', 'neck', 'backbone'), [
    ('mae', {}, {}), ('mae', dict(cross_attention=True), {}), ('mae', {}, dict(num_registers=2)),
    ('simmim', {}, {}), ('maskfeat', {}, {})])
def test_they_are_those_that_the_blocks_see(host, neck, backbone):
    model, seen = build_host(host, neck=neck, **backbone), {}
    for name, blocks in (('encoder', model.backbone.layers),
                         ('decoder', getattr(model.neck, 'decoder_blocks', ()))):
        for block in blocks[:1]:
            block.register_forward_pre_hook(
                lambda _, inputs, name=name: seen.update({name: inputs[0].shape[1]}))
    plan = model.data_preprocessor.mask_generator(2, GRID, torch.ones(2, GRID[0] * GRID[1]))
    model.loss(torch.randn(2, 3, *SIZE), None, plan=plan)
    assert tokens_per_image(model) == {'encoder_tokens': seen['encoder'],
                                       'decoder_tokens': seen.get('decoder', 0)}
