"""The list of unreadable images: each once, whoever finds it, and the limit."""

import multiprocessing

import pytest

import amt_mm.registry  # noqa: F401  before mmpretrain
from amt_mm.datasets import BadImages, bad_images
from amt_mm.errors import InputError

NAMES = [f'folder/{i}.jpg' for i in range(200)]


def name_of(index):
    return NAMES[index] if index < len(NAMES) else None


def make(folder, rank=0, max_bad=.5, names=name_of, samples=200):
    return BadImages(folder, names, samples, max_bad, rank)


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(bad_images, '_INTERVAL', 0)


def test_each_image_has_one_line_with_its_reason(tmp_path):
    bad = make(tmp_path / 'new')
    for index in (5, 7, 5):
        bad.add(index, 'not readable:\n  it is\tempty ' + 'x' * 999)
    lines = (tmp_path / 'new' / 'bad_images_rank0.txt').read_text().splitlines()
    fields = [line.split('\t') for line in lines]
    assert [field[:2] for field in fields] == [['5', 'folder/5.jpg'], ['7', 'folder/7.jpg']]
    assert fields[0][2].startswith('not readable: it is empty xxx') and len(lines[0]) < 250
    assert len(bad) == 2 and 5 in bad and 6 not in bad


@pytest.mark.parametrize('line', ['', 'x', '5', '\t\t', '-5\tfolder/5.jpg\tempty', '\udcff\t\t',
                                  '9' * 5000 + '\tfolder/5.jpg\tempty', '5\tother/5.jpg\tempty'])
def test_lines_of_other_kinds_are_left_out(tmp_path, line):
    (tmp_path / 'bad_images_rank3.txt').write_text(f'{line}\n7\tfolder/7.jpg\tempty\n',
                                                   errors='surrogateescape')
    assert 7 in (bad := make(tmp_path)) and len(bad) == 1


def test_a_resumed_run_reads_the_list_and_counts_none_twice(tmp_path):
    make(tmp_path).add(5, 'empty')
    again = make(tmp_path)
    assert 5 in again
    again.add(5, 'empty')
    assert len(again) == 1 and len((tmp_path / 'bad_images_rank0.txt').read_text().split('\n')) == 2


def test_other_ranks_count_too(tmp_path, at_once):
    first, second = make(tmp_path, 0), make(tmp_path, 1)
    first.add(5, 'empty')
    second.add(6, 'empty')
    second.add(5, 'empty')
    assert 6 in first and len(first) == len(second) == 2
    assert (tmp_path / 'bad_images_rank1.txt').read_text() == '6\tfolder/6.jpg\tempty\n'


def test_other_files_are_read_at_intervals(tmp_path):
    first, second = make(tmp_path, 0), make(tmp_path, 1)
    assert 6 not in first
    second.add(6, 'empty')
    assert 6 not in first
    first.read_new()
    assert 6 in first


def test_the_limit_is_a_fraction(tmp_path):
    bad = make(tmp_path, max_bad=.01)
    bad.add(5, 'empty')
    bad.add(6, 'empty')
    with pytest.raises(InputError, match=r'3 of 200 images are unreadable, more than max_bad=0.01 '
                       r'allows: folder/5.jpg, folder/6.jpg, folder/7.jpg \(reasons in'):
        bad.add(7, 'empty')
    # In the next run.
    again = make(tmp_path, max_bad=.01)
    again.read_new()
    with pytest.raises(InputError, match='3 of 200'):
        again.check()


def test_an_image_under_several_indices_counts_once(tmp_path):
    bad = make(tmp_path, names=lambda index: f'{index % 3}.jpg', samples=3)
    bad.add(0, 'empty')
    bad.add(3, 'empty')
    assert len(bad) == 1 and 3 in bad


@pytest.mark.parametrize('max_bad', [-.1, 1.5])
def test_refuses_an_invalid_fraction(tmp_path, max_bad):
    with pytest.raises(InputError, match='max_bad='):
        make(tmp_path, max_bad=max_bad)


def test_ignores_lines_of_another_data_set(tmp_path):
    make(tmp_path).add(5, 'empty')
    make(tmp_path).add(199, 'empty')
    other = make(tmp_path, names=lambda index: f'other/{index}.jpg')
    other.read_new()
    smaller = make(tmp_path, names=lambda index: name_of(index) if index < 100 else None)
    smaller.read_new()
    assert len(other) == 0 and smaller.names() == ['folder/5.jpg']


@pytest.mark.parametrize('cut', range(1, 25))
def test_an_incomplete_line_affects_no_other(tmp_path, cut):
    make(tmp_path).add(5, 'empty')
    make(tmp_path).add(16, 'is empty')
    path = tmp_path / 'bad_images_rank0.txt'
    path.write_bytes(path.read_bytes()[:-cut])
    bad = make(tmp_path)
    bad.add(17, 'empty')
    again = make(tmp_path)
    again.read_new()
    assert set(again.names()) - {'folder/16.jpg'} == {'folder/5.jpg', 'folder/17.jpg'}


@pytest.mark.parametrize('name', ['tab\there.jpg', 'new\nline.jpg', 'back\\n.jpg', 'ä ö.jpg',
                                  b'\xff\xfe.jpg'.decode('utf-8', 'surrogateescape')])
def test_names_of_any_kind(tmp_path, name):
    make(tmp_path, names=lambda _: name).add(5, 'empty')
    again = make(tmp_path, names=lambda _: name)
    assert 5 in again and (tmp_path / 'bad_images_rank0.txt').read_bytes().count(b'\n') == 1


def test_a_deleted_list_starts_over(tmp_path):
    bad = make(tmp_path)
    bad.add(5, 'empty')
    bad.path.unlink()
    bad.add(6, 'empty')
    assert bad.path.read_text() == '6\tfolder/6.jpg\tempty\n'


def test_workers_that_find_the_same_images(tmp_path):
    def work():
        bad = make(tmp_path)
        for index in range(100):
            bad.add(index, 'empty ' * 20)

    workers = [multiprocessing.get_context('fork').Process(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    lines = (tmp_path / 'bad_images_rank0.txt').read_text().splitlines()
    assert sorted(int(line.split('\t')[0]) for line in lines) == list(range(100))
