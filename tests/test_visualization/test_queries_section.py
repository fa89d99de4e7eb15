"""Queries by how few patches they attend to."""

import math

import numpy as np
import torch
from shown_toys import toy_shown

from amt_mm.visualization.pictures import saliency_overlay
from amt_mm.visualization.queries_section import queries_section, query_rows


def test_the_narrowest_queries_follow_the_mean_of_all():
    shown = toy_shown()
    torch.manual_seed(0)
    # Query j is sharper than query j - 1, but for the last, which is the flattest of all.
    sharpness = torch.tensor([1., 2, 3, 4, 5, .1])[:, None]
    maps = (torch.randn(3, 6, 35) * sharpness).softmax(dim=-1)
    spread = [sum(-p * math.log(p) for image in maps for p in image[j].tolist()) for j in range(6)]
    narrow = sorted(range(6), key=spread.__getitem__)[:4]
    rows = query_rows('MAE, EP', shown, maps)
    assert [row.name for row in rows] == ['a.jpg, MAE, EP', '<b>.jpg, MAE, EP', 'c.jpg, MAE, EP']
    assert [each.caption for each in rows[1].pictures] == [
        'image', 'all queries', *(f'query {j + 1}' for j in narrow)]
    for row, image, own in zip(rows, shown.images, maps.view(3, 6, 5, 7).numpy(), strict=True):
        wanted = [image, saliency_overlay(image, sum(own) / 6),
                  *(saliency_overlay(image, own[j]) for j in narrow)]
        for picture, each in zip(row.pictures, wanted, strict=True):
            assert np.abs(picture.image.astype(int) - each).max() <= 1
    assert 'the 4 queries' in queries_section(rows).text[0]
