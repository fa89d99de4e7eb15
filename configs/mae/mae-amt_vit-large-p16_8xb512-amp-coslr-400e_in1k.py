# MAE + AMT on ViT-L/16, 400 epochs, in bf16. Not in the paper, so no result is expected.
# Memory per GPU: docs/performance.md, "Memory of ViT-L and ViT-H".
#   bash tools/dist_train.sh configs/mae/mae-amt_vit-large-p16_8xb512-amp-coslr-400e_in1k.py 8
_base_ = './mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'

model = dict(backbone=dict(arch='large'))
optim_wrapper = dict(type='amt_mm.BF16OptimWrapper')
