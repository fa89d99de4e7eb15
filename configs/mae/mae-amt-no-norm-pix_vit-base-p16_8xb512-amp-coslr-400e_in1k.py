# MAE + AMT on plain pixels instead of pixels normalised in each patch. The command in the authors'
# README does so, although the paper keeps MAE's settings; Table 1 does not say which it used.
# Its baseline on the same recipe: model.head.norm_pix=False of the configs mae_ and mae-am_.
#   bash tools/dist_train.sh \
#     configs/mae/mae-amt-no-norm-pix_vit-base-p16_8xb512-amp-coslr-400e_in1k.py 8
_base_ = './mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'

model = dict(head=dict(norm_pix=False))
