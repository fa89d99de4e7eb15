"""Threads that exchange as the processes of a group would."""

import threading


class ThreadedRanks:
    """Runs a function of the rank in each of some ranks; gives what each returned or raised.

    Modules that exchange are told so: in them, the functions of mmengine.dist are replaced.
    """

    def __init__(self, monkeypatch, *modules):
        self._mine = threading.local()
        own = dict(all_gather_object=self._gather, broadcast_object_list=self._broadcast,
                   get_rank=lambda: self.rank, is_main_process=lambda: self.rank == 0)
        for module in modules:
            for name in own.keys() & vars(module).keys():
                monkeypatch.setattr(module, name, own[name])

    @property
    def rank(self):
        return self._mine.rank

    def __call__(self, count, work):
        self._count, self._table, self._meeting = count, {}, threading.Barrier(count)
        results = [None] * count

        def one(rank):
            self._mine.rank = rank
            try:
                results[rank] = work(rank)
            except Exception as error:
                results[rank] = error

        threads = [threading.Thread(target=one, args=(rank, )) for rank in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def _gather(self, item):
        self._table[self.rank] = item
        self._meeting.wait(20)
        found = [self._table[rank] for rank in range(self._count)]
        self._meeting.wait(20)
        return found

    def _broadcast(self, items):
        items[:] = self._gather(items)[0]
