"""Two processes exchange a number, or it is said why not."""

import sys

import pytest

from amt_mm.apis.doctor.exchange import exchange_between_two


def worker(code):
    return [sys.executable, '-c', f'import sys, time\nrank = int(sys.argv[1])\n{code}']


@pytest.mark.slow
def test_numbers_arrive():
    found = exchange_between_two()
    assert found.state == 'ok'


@pytest.mark.slow
@pytest.mark.parametrize(('code', 'said'), [
    ('time.sleep(99)', 'in 2 s'), ('rank or time.sleep(99)', 'in 2 s'),
    ('print(17)', 'no error'), ('rank and print(17)', 'no error'),
    ('sys.exit("Connection refused")', 'Connection refused')])
def test_numbers_do_not_arrive(code, said):
    found = exchange_between_two(worker(code), limit=2)
    assert found.state == 'warning' and said in found.text and 'GLOO_SOCKET_IFNAME' in found.text
