# MAE + AMT on ViT-H/14 with weights, gradients and AdamW's state sharded among the GPUs (FSDP2),
# about 1.3 instead of 10.5 GB per GPU. It trains as the config it inherits from; when it pays off:
# docs/performance.md, "Memory of ViT-L and ViT-H". Tested with toy models on CPUs (gloo), not NCCL.
#   CONFIG=configs/mae/mae-amt-sharded_vit-huge-p14_8xb512-amp-coslr-400e_in1k.py
#   bash tools/dist_train.sh $CONFIG 8
_base_ = './mae-amt_vit-huge-p14_8xb512-amp-coslr-400e_in1k.py'

model_wrapper_cfg = dict(type='amt_mm.ShardedModel')
