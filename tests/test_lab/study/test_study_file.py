"""read_study: what it takes, and one line for what it does not."""

import pytest
from toy_study import AMT, RANDOM, RECIPES, write_study

from amt_mm.errors import InputError
from lab.study.study_file import folder_name, read_study


def test_a_study_and_its_defaults(tmp_path):
    recipes = {'late': dict(overlay=['a.py', AMT], options={'x.y': 1}), **RECIPES}
    file = write_study(tmp_path, recipes=recipes, options={'z': 2}, _mine=3)
    study = read_study(file)
    assert (study.name, study.baseline, study.seeds) == ('toy', 'random', (0, 1))
    # The baseline comes first, wherever it stands.
    assert list(study.recipes) == ['random', 'late', 'AMT, equal']
    late = study.recipes['late']
    assert late.overlay == (str(tmp_path / 'a.py'), AMT)
    assert (late.options, late.shares, late.budget) == ({'x.y': 1}, {}, 'epochs')
    assert study.datasets['b'] == str(tmp_path / 'b.py') and study.options == {'z': 2}


def test_a_study_inherits_another(tmp_path):
    write_study(tmp_path)
    (tmp_path / 'more.py').write_text("_base_ = 'toy.py'\nseeds = [5]\nrecipes = dict(late=dict("
                                      f"overlay={AMT!r}))")
    study = read_study(tmp_path / 'more.py')
    assert study.seeds == (5,) and list(study.recipes) == ['random', 'AMT, equal', 'late']


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(seed=3), 'seed is not a setting of a study'),
    (dict(seeds=()), r'seeds=\[\]'),
    (dict(seeds=(1, 1)), 'different whole numbers'),
    (dict(seeds=(.5,)), 'different whole numbers'),
    (dict(datasets=()), r'datasets=\{\}'),
    (dict(options=['x']), 'options must be a dict'),
    (dict(recipes=dict(x=RECIPES['random'])), "baseline='random' is not one of the recipes"),
    (dict(recipes=dict(random=RANDOM)), "recipe 'random' must be a dict with `overlay`"),
    (dict(recipes=dict(random=dict(overlay=RANDOM, epochs=3))), 'epochs is unknown'),
    (dict(recipes=dict(random=dict(overlay=RANDOM, budget='time'))), "budget='time'"),
    (dict(recipes=dict(random=dict(overlay=RANDOM, budget=0))), 'budget=0 must be'),
    (dict(recipes=dict(random=dict(overlay=RANDOM, budget=True))), 'budget=True must be'),
    (dict(recipes=dict(random=dict(overlay=RANDOM, budget=.5))), "the baseline 'random'"),
    (dict(recipes=dict(random=dict(overlay=RANDOM, budget='compute'))), "the baseline 'random'"),
    (dict(recipes=dict(random=dict(overlay='none.py'))), 'none.py: there is no such file'),
    (dict(recipes=dict(random=dict(overlay=[3]))), '3 must be the path'),
    (dict(recipes=dict(random=dict(overlay=RANDOM, shares={'x': 2}))), r"shares\['x'\]=2"),
    (dict(recipes=dict(random=dict(overlay=RANDOM, shares={'x': 1}, options={'x': 1}))), 'both in'),
    (dict(recipes={'random': dict(overlay=RANDOM), 'a b': dict(overlay=RANDOM),
                   'A, b': dict(overlay=RANDOM)}), "'A, b' and 'a b' would share the folder a-b"),
    (dict(datasets=['pooled']), "'pooled' and 'pooled' would share"),
    (dict(recipes={'random': dict(overlay=RANDOM), '..': dict(overlay=RANDOM)}), 'no letter')])
def test_what_is_wrong_is_named(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        read_study(write_study(tmp_path, **changes))


@pytest.mark.parametrize(('name', 'folder'), [
    ('AMT, 75/10', 'AMT-75-10'), ('half + half', 'half-+-half'), ('../up', 'up'), ('é', 'é')])
def test_folder_names(name, folder):
    assert folder_name(name) == folder
