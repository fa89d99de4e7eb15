# Attentive probing of the frozen encoder: classifiers that pool the patch tokens by attention, of
# efficient probing (EP, arXiv 2506.10178) and of AIM (arXiv 2401.08541). Tokens are encoded once,
# without augmentation; every fifth training image selects learning rate and weight decay.
# Published for MAE, ViT-B/16 on ImageNet-1K: EP 75.5, linear 67.8 (docs/evaluation.md).
# EP alone: test_cfg.kinds=[ep]
_base_ = './knn.py'
protocol = 'attentive'

test_cfg = dict(
    _delete_=True,
    type='amt_mm.AttentiveTestLoop',
    kinds=['ep', 'aim'],
    queries=32,
    lrs=[3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1],
    weight_decays=[0.0, 0.1],
    epochs=30,
    train_dataloader=_base_.test_cfg.train_dataloader)
