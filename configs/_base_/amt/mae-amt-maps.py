# AMT with given maps, such as masks of objects, instead of the encoder's attention: guided from the
# first epoch on, since they need no trained encoder. No result is published. Forms of the file:
# docs/guidance.md.
#   overlay = dict(hooks=dict(saliency=dict(path='maps.npz')))
_base_ = './mae-amt.py'
overlay = dict(
    hooks=dict(saliency=dict(_delete_=True, type='amt_mm.MapsFromFileHook', path=None)))
