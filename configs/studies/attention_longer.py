# Does the answer of attention.py change with a longer training or a wider net? Its recipes, on
# clothes: 90 epochs instead of 30, 384 channels instead of 192.
#
#   python -m lab.study configs/studies/attention_longer.py --jobs 2 --seeds 0 --recipes \
#     'random 75/0' 'random 45/40' 'AMT 45/40' 'AMT, throw low, mask random, by rank'
_base_ = './attention.py'

datasets = dict(
    _delete_=True,
    clothing_90e='_base_/mae_vit-mini-p8_clothing_90e.py',
    clothing_wide='_base_/mae_vit-384-p8_clothing_30e.py')
