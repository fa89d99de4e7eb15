"""Plans: one merged config a run, and epochs of equal compute, counted slowly."""

import pytest
from mmpretrain.registry import TRANSFORMS

from amt_mm import shipped
from amt_mm.apis import comparison, judging
from amt_mm.errors import InputError
from lab.cost.cost import cost
from lab.cost.refresh_cost import counted_refresh, training_cost
from lab.study.planning import Run, at_cost, grid, merged, plan_study
from lab.study.schedule import scaled_schedule
from lab.study.study_file import Recipe, read_study

CONFIGS = shipped.configs_folder()
CLOTHING = str(CONFIGS / 'studies/_base_/mae_vit-mini-p8_clothing_30e.py')
CALENDAR = {'overlay.hooks.saliency.begin': 8, 'overlay.hooks.saliency.interval': 8}


def recipe(overlay, options=None, **others):
    return Recipe('x', (str(CONFIGS / f'_base_/amt/{overlay}.py'),), options or {}, **others)


def slow_total(cfg, costs=None):
    """Multiply-adds for an image, epoch by epoch: a refresh, then three forward passes."""
    random, guided, look = costs or costs_of(cfg)
    hook = cfg.custom_hooks[0] if cfg.get('custom_hooks') else None
    total = 0
    for epoch in range(cfg.train_cfg.max_epochs):
        if hook is None or epoch < hook.begin:
            total += 3 * random
            continue
        if epoch == hook.begin:
            total += look
        elif (epoch - hook.begin) % hook.interval == 0:
            total += look / hook.get('parts', 1)
        total += 3 * guided
    return total


def costs_of(cfg):
    model = judging.build_model(cfg).to('meta')
    return (cost(cfg, guided=False).counted, cost(cfg).counted,
            counted_refresh(model.backbone, model.backbone.patch_resolution))


@pytest.mark.slow
@pytest.mark.parametrize(('overlay', 'options', 'name'), [
    ('mae-random', {}, 'mae'), ('mae-am', CALENDAR, 'mae-am'), ('mae-amt', CALENDAR, 'mae-amt'),
    ('mae-random', {'data_preprocessor.mask_generator.mask_ratio': .45,
                    'data_preprocessor.mask_generator.throw_ratio': .40},
     'mae-random-throw-45-40')])
def test_a_merged_config_is_that_of_a_file_with_the_same_bases(overlay, options, name):
    file = CONFIGS / f'clothing/{name}_vit-mini-p8_1xb128-coslr-30e_clothing.py'
    wanted = comparison.resolved(str(file)).to_dict()
    wanted['probe']['folds'] = 5  # in the study's base alone
    # The order of keys follows that of merging.
    assert merged(CLOTHING, recipe(overlay, options)).to_dict() == wanted


def test_overlays_and_options_go_one_over_the_other(tmp_path):
    (tmp_path / 'more.py').write_text(
        'overlay = dict(hooks=dict(saliency=dict(begin=3, parts=2)))\ntrain_cfg=dict(max_epochs=9)')
    mine = Recipe('x', (recipe('mae-amt').overlay[0], str(tmp_path / 'more.py')),
                  {'overlay.hooks.saliency.interval': 5}, {'overlay.hooks.saliency.begin': .5})
    cfg = merged(CLOTHING, mine, {'train_dataloader.batch_size': 7,
                                  'overlay.hooks.saliency.interval': 6})
    hook, = cfg.custom_hooks
    # Half of 9 epochs is rounded up.
    assert (hook.begin, hook.interval, hook.parts) == (5, 5, 2)
    assert cfg.train_dataloader.batch_size == 7 and cfg.train_cfg.max_epochs == 9


@pytest.mark.slow
@pytest.mark.parametrize(('overlay', 'options', 'epochs'), [
    ('mae-am', CALENDAR, 28), ('mae-amt', CALENDAR, 39),
    ('mae-amt', {**CALENDAR, 'overlay.hooks.saliency.parts': 3}, 40)])
def test_epochs_of_equal_compute_are_the_nearest(overlay, options, epochs):
    """Tried one by one around the answer, each counted epoch by epoch."""
    wanted = slow_total(merged(CLOTHING, recipe('mae-random')))
    cfg = merged(CLOTHING, recipe(overlay, options))
    found, price = at_cost(cfg, training_cost(cfg), wanted)
    assert found.train_cfg.max_epochs == epochs
    costs = costs_of(cfg)
    totals = {each: slow_total(scaled_schedule(cfg, each), costs) for each in range(10, 60)}
    assert price.total == pytest.approx(totals[epochs], rel=1e-12)
    assert min(totals, key=lambda each: abs(totals[each] - wanted)) == epochs


def test_throwing_without_a_refresh_follows_from_the_ratio_of_steps():
    base = merged(CLOTHING, recipe('mae-random'))
    thrown = merged(CLOTHING, recipe('mae-random', {
        'data_preprocessor.mask_generator.mask_ratio': .45,
        'data_preprocessor.mask_generator.throw_ratio': .40}))
    ratio = cost(base).counted / cost(thrown).counted
    found, _ = at_cost(thrown, training_cost(thrown), training_cost(base).total)
    assert found.train_cfg.max_epochs == round(30 * ratio) == 48


@pytest.mark.slow
@pytest.mark.parametrize('file', sorted((CONFIGS / 'studies').glob('*.py')), ids=lambda f: f.stem)
def test_each_study_of_ours_can_be_planned(file):
    study = read_study(file)
    plans = plan_study(study)
    assert [(plan.dataset, plan.recipe) for plan in plans] == [
        (dataset, name) for dataset in study.datasets for name in study.recipes]
    assert all(plan.relative_cost == 1 for plan in plans if plan.recipe == study.baseline)
    for plan in plans:
        for transform in plan.cfg.train_dataloader.dataset.pipeline:
            TRANSFORMS.build(transform)
    runs = grid(plans, study.seeds)
    assert len(runs) == len(plans) * len(study.seeds)
    assert [run.seed for run in runs] == sorted(run.seed for run in runs)
    assert runs[-1].cfg.randomness.seed == runs[-1].seed


@pytest.mark.slow
def test_one_recipe_serves_schedules_of_different_lengths():
    plans = {(plan.dataset, plan.recipe): plan
             for plan in plan_study(read_study(CONFIGS / 'studies/attention.py'))}
    for dataset, epochs, begin in (('clothing', 30, 8), ('cifar10', 12, 3)):
        plan = plans[dataset, 'AMT 45/40']
        hook, = plan.cfg.custom_hooks
        assert (plan.epochs, hook.begin, hook.interval) == (epochs, begin, begin)
        assert plan.cost.total == slow_total(plan.cfg)


def test_a_share_of_the_cost_of_the_baseline(tmp_path):
    (tmp_path / 'study.py').write_text(
        f"baseline = 'a'\nseeds = [0]\ndatasets = dict(d={str(CLOTHING)!r})\n"
        f"random = {str(CONFIGS / '_base_/amt/mae-random.py')!r}\n".replace('random =', '_random =')
        + "recipes = dict(a=dict(overlay=_random), third=dict(overlay=_random, budget=1/3), "
        "thrown=dict(overlay=_random, budget=2, options={'data_preprocessor.mask_generator."
        "throw_ratio': .15}))")
    whole, third, thrown = plan_study(read_study(tmp_path / 'study.py'))
    assert (whole.epochs, third.epochs) == (30, 10)
    assert third.cfg.param_scheduler[1].end == 10
    assert thrown.epochs > 60 and thrown.relative_cost == pytest.approx(2, rel=.02)


def test_a_model_of_unknown_cost_is_compared_at_equal_epochs_only(tmp_path):
    base = CONFIGS / 'clothing/ibot-random_vit-nano-p8_1xb64-coslr-30e_clothing.py'
    (tmp_path / 'empty.py').write_text('')
    text = ("baseline = 'a'\nseeds = [0]\n" f"datasets = dict(d={str(base)!r})\n"
            "recipes = dict(a=dict(overlay='empty.py'), b=dict(overlay='empty.py'{}))")
    (tmp_path / 'study.py').write_text(text.format(''))
    plan = plan_study(read_study(tmp_path / 'study.py'))[1]
    assert plan.cost is plan.relative_cost is plan.relative_step is None
    (tmp_path / 'study.py').write_text(text.format(", budget='compute'"))
    with pytest.raises(InputError, match="recipe 'b' on d: IBOT: costs are known"):
        plan_study(read_study(tmp_path / 'study.py'))


def test_options_that_fit_nothing_name_the_recipe(tmp_path):
    with pytest.raises(InputError, match='no hook of that name'):
        merged(CLOTHING, recipe('mae-random', CALENDAR))
    with pytest.raises(InputError, match='do not fit'):
        merged(CLOTHING, recipe('mae-random', {'train_cfg.max_epochs.x': 1}))


@pytest.mark.slow
def test_folders_of_runs(tmp_path):
    study = read_study(CONFIGS / 'studies/attention.py')
    plan = plan_study(study)[1]
    assert Run(plan, 3).folder(tmp_path) == tmp_path / 'clothing/random-45-40/seed_3'
