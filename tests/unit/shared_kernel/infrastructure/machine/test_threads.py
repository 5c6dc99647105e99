from __future__ import annotations

from marketpipe.shared_kernel.infrastructure.machine.threads import REAL_THREADS


def test_what_is_submitted_runs_and_is_waited_for() -> None:
    with REAL_THREADS.executor(2, "test") as executor:
        futures = [executor.submit(pow, base, 2) for base in range(4)]
        REAL_THREADS.wait(futures)
        assert all(future.done() for future in futures)
        assert sorted(future.result() for future in REAL_THREADS.as_completed(futures)) == [0, 1, 4, 9]


def test_locks_keep_others_out() -> None:
    lock, reentrant, condition = REAL_THREADS.lock(), REAL_THREADS.reentrant_lock(), REAL_THREADS.condition()
    with lock, reentrant, reentrant, condition:
        assert not lock.acquire(blocking=False)
        assert condition.wait_for(lambda: True)
        condition.notify_all()
