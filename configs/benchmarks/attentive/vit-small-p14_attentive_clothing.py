# Attentive probing of the encoders of configs/studies/continued.py, docs/recipes.md. `amt evaluate`
# takes their architecture from the checkpoint.
_base_ = [
    '../../_base_/protocols/attentive.py',
    '../../_base_/datasets/labelled/clothing.py',
]

overlay = dict(image_size=112)
