"""A race of stand-ins: photographs, judging, going on, failures."""

import json
import os
import shutil
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from amt_mm.datasets import ImageFolder
from amt_mm.errors import InputError
from lab.race import __main__ as tool
from lab.race import running
from lab.race.field import CONTESTANTS, Contestant
from lab.race.running import Race, enter_images, judge_run

# Stands for an interpreter: "learns" features that are random, then the class itself.
STAND_IN = '''#!{python}
import json, os, sys
import numpy as np
option = dict(zip(sys.argv[3::2], sys.argv[4::2]))
print(sys.argv[2], option['--seed'], os.environ['OMP_NUM_THREADS'], option['--minutes'])
out, images = option['--out'], json.load(open(option['--images']))
with open(os.path.join(os.path.dirname(option['--images']), 'order'), 'a') as file:
    print(sys.argv[2], option['--seed'], file=file)
if 'lightly' in sys.argv[2]:
    sys.exit(3)
os.makedirs(out + '/features')
for number, knows in enumerate((0, 1)):
    draw = np.random.default_rng(number)
    parts = {{part: np.float32(draw.normal(size=(len(images[part]), 4)) * .1 + knows
                              * np.eye(4)[images[part + '_labels']])
             for part in ('train', 'held_out')}}
    np.savez(f'{{out}}/features/{{number:04d}}.npz', seconds=30 * number, **parts)
finished = dict(seconds=30, steps=9, batch=2, versions={{'numpy': np.__version__}})
json.dump(finished, open(out + '/finished.json', 'w'))
'''


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / 'photographs'
    for number in range(210):
        file = folder / 'abc'[number % 3] / f'{number}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (9, 7), (number, 0, 0)).save(file)
    return folder


@pytest.fixture
def python(tmp_path):
    file = tmp_path / 'python'
    file.write_text(STAND_IN.format(python=sys.executable))
    file.chmod(0o755)
    return file


@pytest.mark.slow
def test_the_split_is_that_of_image_folder(photographs, tmp_path):
    enter_images(Race(tmp_path / 'out', 1, 5, tmp_path), photographs)
    images = json.loads((tmp_path / 'out/images.json').read_text())
    assert images['folder'] == str(photographs)
    for part, split in (('train', 'train'), ('held_out', 'val')):
        data = ImageFolder(str(photographs), split=split, pipeline=[])
        infos = [data.get_data_info(i) for i in range(len(data))]
        assert [str(photographs / file) for file in images[part]] == [
            info['img_path'] for info in infos]
        assert images[f'{part}_labels'] == ['abc'.index(file[0]) for file in images[part]]
    assert len(images['train']) + len(images['held_out']) == 210


@pytest.mark.slow
def test_a_race_on_other_terms_is_refused(photographs, tmp_path):
    out = tmp_path / 'out'
    enter_images(Race(out, 1, 5, tmp_path), photographs)
    enter_images(Race(out, 1, 5, tmp_path), photographs)
    with pytest.raises(InputError, match='other terms'):
        enter_images(Race(out, 2, 5, tmp_path), photographs)
    os.remove(photographs / 'a/0.png')
    with pytest.raises(InputError, match='images.json'):
        enter_images(Race(out, 1, 5, tmp_path), photographs)


@pytest.mark.slow
def test_a_folder_without_classes_is_refused(photographs, tmp_path):
    with pytest.raises(InputError, match='no class subfolders'):
        enter_images(Race(tmp_path / 'out', 1, 5, tmp_path), photographs / 'a')


@pytest.mark.slow
def test_fewer_photographs_than_a_batch_are_refused(photographs, tmp_path):
    shutil.rmtree(photographs / 'a')
    shutil.rmtree(photographs / 'b')
    for file in sorted((photographs / 'c').iterdir())[9:]:
        file.unlink()
    Image.new('RGB', (9, 7)).save(photographs / 'c/c.png')
    (photographs / 'd').mkdir()
    Image.new('RGB', (9, 7)).save(photographs / 'd/d.png')
    with pytest.raises(InputError, match='a race needs 16'):
        enter_images(Race(tmp_path / 'out', 1, 5, tmp_path), photographs)


def test_features_are_judged_by_k_nn_of_twenty(tmp_path):
    draw = np.random.default_rng(0)
    labels = {part: draw.integers(0, 3, size) for part, size in (('train', 83), ('held_out', 41))}
    features = {part: np.float32(draw.normal(size=(len(rows), 6)) + np.eye(6)[rows])
                for part, rows in labels.items()}
    (tmp_path / 'features').mkdir()
    np.savez(tmp_path / 'features/0000.npz', seconds=90., **features)
    point, = judge_run(tmp_path, {f'{part}_labels': rows.tolist() for part, rows in labels.items()})
    votes = KNeighborsClassifier(20, metric='cosine', weights=lambda d: np.exp((1 - d) / .07))
    votes.fit(features['train'], labels['train'])
    assert point['minutes'] == 1.5
    assert point['knn'] == pytest.approx(
        100 * votes.score(features['held_out'], labels['held_out']))
    assert 40 < point['linear'] < 100


@pytest.mark.slow
def test_a_race_goes_on_past_a_failure_and_is_gone_on_with(photographs, python, tmp_path, capsys,
                                                            monkeypatch):
    monkeypatch.setitem(CONTESTANTS, 'recommended', Contestant('ours', ours=True,
                                                              own_environment=True))
    out = tmp_path / 'out'
    arguments = ['--data', str(photographs), '--minutes', '.5', '--out', str(out), '--python',
                 str(python), '--repeats', '2', '--only', 'recommended', 'plain', 'lightly']
    with pytest.raises(SystemExit) as ended:
        tool.main(arguments)
    said = capsys.readouterr()
    assert ended.value.code == 1, said.err
    assert '2 of 6 runs failed:' in said.err
    folder = out / 'lightly/repeat_1'
    assert f'lightly/repeat_1: it ended with status 3, see {folder}/log.txt' in said.err
    names = ['ours', 'plain_mae', 'lightly_mae']
    ran = [f'lab.race.contestants.{name} {seed}' for seed in (0, 1) for name in names]
    assert (out / 'order').read_text().splitlines() == ran
    assert (out / 'plain/repeat_1/log.txt').read_text().split()[1:] == ['1', '1', '0.5']
    race = json.loads((out / 'race.json').read_text())
    assert race['compared']['knn']['best_peer'] == 'plain'
    assert race['compared']['linear']['accuracy'] == 100
    assert [run['points'][1]['knn'] for run in race['runs']] == [100] * 4
    assert f'numpy {np.__version__}' in said.out
    assert '| plain' in said.out and (out / 'race.svg').is_file()

    (out / 'order').unlink()
    assert running.finished_result(Race(out, .5, 1.5, python), 'plain', 1)['repeat'] == 1
    tool.main(arguments[:-1])  # without the one that fails
    assert '4 of 4 runs are finished' in capsys.readouterr().out and not (out / 'order').exists()


def test_without_the_peers_environment_the_way_to_it_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        tool.main(['--python', str(tmp_path / 'none'), '--out', str(tmp_path)])
    assert ended.value.code == 2 and '`make race` installs it' in capsys.readouterr().err
