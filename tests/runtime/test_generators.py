"""Generators that are driven to their end, or passed on."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from napari_virtual_paint.runtime.generators import relay, run_to_end


class Work:
    """Counts to three and returns a word; remembers whether it was closed early."""

    def __init__(self) -> None:
        self.left = False

    def run(self) -> Generator[int, None, str]:
        try:
            yield from (1, 2, 3)
        except GeneratorExit:
            self.left = True
            raise
        return "done"


def test_the_result_is_returned_and_every_value_reported() -> None:
    seen: list[int] = []
    assert run_to_end(Work().run(), seen.append) == "done"
    assert seen == [1, 2, 3]
    assert run_to_end(Work().run()) == "done"


def test_work_is_closed_when_the_listener_fails() -> None:
    work = Work()

    def fail(step: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_to_end(work.run(), fail)
    assert work.left


def test_errors_of_the_work_come_through() -> None:
    def broken() -> Generator[int, None, None]:
        yield 1
        raise ValueError("out of luck")

    with pytest.raises(ValueError, match="out of luck"):
        run_to_end(broken())
    with pytest.raises(ValueError, match="out of luck"):
        run_to_end(relay(broken(), str))


def test_relay_converts_the_values_and_keeps_the_result() -> None:
    seen: list[str] = []
    assert run_to_end(relay(Work().run(), str), seen.append) == "done"
    assert seen == ["1", "2", "3"]


def test_closing_a_relay_closes_the_work() -> None:
    work = Work()
    passed_on = relay(work.run(), str)
    assert next(passed_on) == "1"
    passed_on.close()
    assert work.left
