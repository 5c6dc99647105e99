from __future__ import annotations

from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine


def test_each_machine_counts_its_temporary_names_from_one() -> None:
    one, other = Machine(), Machine()
    assert [next(one.numbers), next(one.numbers), next(other.numbers)] == [1, 2, 1]


def test_the_machine_of_the_program_is_the_real_one() -> None:
    assert HERE.new_name() != HERE.new_name()
    assert HERE.monotonic() <= HERE.monotonic()
    assert 0 <= HERE.uniform(0, 1) <= 1
    assert HERE.processors >= 1


def test_the_machine_of_the_program_opens_databases() -> None:
    connection = HERE.connect(":memory:", isolation_level=None)
    assert connection.execute("SELECT 1").fetchone() == (1,)
    connection.close()
