"""check_types: what a config from a file may build."""

import pytest
from mmengine.registry import MODELS

import amt_mm.apis.launch  # noqa: F401
from amt_mm.errors import InputError
from amt_mm.reliability.replay import check_types


@pytest.mark.parametrize('kind', [
    'HuggingFaceClassifier', 'mmpretrain.HuggingFaceClassifier', 'TimmClassifier', 'TIMMBackbone',
    'AutoModel', 'builtins.eval'])
def test_models_of_other_libraries_are_refused(kind, monkeypatch):
    """They take names of code: `trust_remote_code=True` of transformers runs what it downloads."""
    # As mmpretrain registers those of transformers, where that is installed.
    child, = (each for each in MODELS.children.values() if 'MAE' in each.module_dict)
    monkeypatch.setitem(child.module_dict, 'AutoModel', lambda **_: None)
    with pytest.raises(InputError, match=f"a.pt: its config has the type '{kind}', which is not"):
        check_types({'model': {'type': 'amt_mm.AMTMAE', 'backbone': [{'type': kind}]}}, 'a.pt')


def test_registered_classes_pass():
    check_types({'model': {'type': 'amt_mm.AMTMAE', 'init_cfg': [{'type': 'TruncNormal'}],
                           'backbone': {'type': 'mmpretrain.MAEViT', 'act_cfg': {'type': 'GELU'}}},
                 'optim_wrapper': {'type': 'AmpOptimWrapper'}}, 'a.pt')
