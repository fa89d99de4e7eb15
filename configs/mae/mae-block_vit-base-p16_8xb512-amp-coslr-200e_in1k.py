# Ablation: block-wise masking (BEiT) at MAE's ratio. No result for this length is published; MAE's
# Table 1f (ViT-L, 800 epochs) has 82.8 fine-tuned, and 84.9 for random masking.
#   bash tools/dist_train.sh configs/mae/mae-block_vit-base-p16_8xb512-amp-coslr-200e_in1k.py 8
_base_ = ['./mae_vit-base-p16_8xb512-amp-coslr-200e_in1k.py', '../_base_/amt/mae-random.py']

data_preprocessor = dict(mask_generator=dict(type='amt_mm.BlockMaskGenerator'))
