# MAE + AMT on ViT-H/14, 400 epochs, in bf16, with gradient checkpointing. Not in the paper, so no
# result is expected. Memory per GPU, and when to shard the optimiser's state:
# docs/performance.md, "Memory of ViT-L and ViT-H".
#   bash tools/dist_train.sh configs/mae/mae-amt_vit-huge-p14_8xb512-amp-coslr-400e_in1k.py 8
_base_ = './mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'

model = dict(backbone=dict(arch='huge', patch_size=14, with_cp=True), neck=dict(with_cp=True))
optim_wrapper = dict(type='amt_mm.BF16OptimWrapper')
