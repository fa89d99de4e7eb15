# Retrieval with the encoders of configs/clothing, docs/evaluation.md.
#   python tools/test.py THIS_CONFIG CHECKPOINT
_base_ = [
    '../../_base_/protocols/retrieval.py',
    '../../_base_/datasets/labelled/clothing.py',
]

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=192, num_layers=6, num_heads=3, feedforward_channels=768),
        patch_size=8))

test_dataloader = dict(num_workers=0)
overlay = dict(image_size=64)
