# MAE + AMT as the authors' code trains it (github.com/guijiejie/AMT at dfe380e): plain pixels; maps
# made after the epoch of index 40 and every 40 later, normalised by head, and read as
# amt_mm/models/released_weights.py says; weight decay of [CLS] and mask token. The ratios are the
# paper's 45/40, which the README's command leaves out. Expected: as mae-amt_, if Table 1 is of it.
#   bash tools/dist_train.sh \
#     configs/mae/mae-amt-as-released_vit-base-p16_8xb512-amp-coslr-400e_in1k.py 8
_base_ = ['./mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py', '../_base_/amt/mae-amt-released.py']

model = dict(head=dict(norm_pix=False))
overlay = dict(hooks=dict(saliency=dict(begin=41, normalize='head')))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(
    mask_token=dict(decay_mult=1.0), cls_token=dict(decay_mult=1.0))))
