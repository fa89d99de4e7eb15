"""StopAgreement: one process is told, all hear of it in the same call."""

import pytest
import torch
from forked_group import in_two_processes

from amt_mm.reliability.stop_agreement import StopAgreement


def test_alone_it_hears_itself_at_once():
    agreement = StopAgreement()
    assert [agreement.exchange(flag) for flag in (False, True)] == [False, True]
    assert agreement.exchange_now(True) and not agreement.exchange_now(False)
    assert agreement.least(5) == 5
    agreement.close()


@pytest.mark.skipif(torch.cuda.is_available(), reason='two processes on the CPU')
def test_both_hear_it_in_the_call_after(tmp_path):
    def work(rank):
        agreement = StopAgreement()
        heard = [agreement.exchange(rank == 1 and call == 2) for call in range(4)]
        # Once heard, all say so; a call that waits tells at once, whoever was told.
        heard += [agreement.exchange_now(True), agreement.exchange_now(False),
                  agreement.exchange_now(rank == 0), agreement.exchange_now(False)]
        least = agreement.least(7 - rank)
        agreement.exchange(True)  # nobody listens: closing waits for it
        agreement.close()
        return heard, least

    first, second = in_two_processes(work, tmp_path)
    assert first == second == ([False, False, False, True, True, False, True, False], 6)
