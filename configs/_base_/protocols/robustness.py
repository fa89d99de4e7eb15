# k-NN of 20 neighbours on occluded and shuffled test images (Naseer et al., NeurIPS 2021): patches
# painted black, random ones and those with the most and the least [CLS] attention of the encoder,
# then tiles in random order. Features of the k-NN protocol.
# Attention of a fixed encoder, as in that paper: test_cfg.guide=dino_vitbase16_pretrain.pth
# Patch by patch at 224 pixels: test_cfg.grids=[2,4,8,14]
_base_ = './knn.py'
protocol = 'robustness'

test_cfg = dict(
    _delete_=True,
    type='amt_mm.RobustnessTestLoop',
    ratios=(0.1, 0.3, 0.5, 0.7, 0.9),
    grids=(2, 4, 8),
    guide=None,
    pooling=None,
    train_dataloader=_base_.test_cfg.train_dataloader)
