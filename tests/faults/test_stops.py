"""SIGTERM at any time: what was read is worked off, all ends within ten seconds, nothing is lost and nothing is left."""

import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from headwater.flows import FLOWS
from streams.videos import VideoTable
from tests.faults.load import CATCH_UP_S, catches_up, living
from tests.faults.world import House, alive, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

# The promise.
WITHIN_S = 10.0


def regions(house_pid: int) -> list[Path]:
    """Return the shared memory that the Triton of a house has."""
    return list(Path("/dev/shm").glob(f"headwater_{house_pid}_*"))


@pytest.mark.parametrize("name", [*(f"flow-{name}" for name in FLOWS), "api"])
def test_a_process_told_to_stop_under_load_ends_in_order_and_its_next_run_goes_on(
    house: House, videos: list[str], table: VideoTable, name: str
) -> None:
    with living(house, videos, f"stop-{name}-{uuid.uuid4().hex[:6]}") as load:
        piece = house.piece(name)
        assert piece is not None
        before = house.text().count(f"{name} runs again")
        piece.send_signal(signal.SIGTERM)
        piece.wait(WITHIN_S)
        until(lambda: house.text().count(f"{name} runs again") > before, within_s=CATCH_UP_S, what=house.text)
        assert house.says(f"{name} ended with status 0"), house.text() + house.log(name)[-2000:]
        until(lambda: house.http.get("/readyz").status_code == 200, within_s=CATCH_UP_S)
        accepted = load.accepted
        until(lambda: load.accepted > accepted)
        seen = load.end()
    catches_up(house, seen, table)


def test_a_house_told_to_stop_under_load_leaves_nothing_and_its_next_run_goes_on(
    house: House, videos: list[str], table: VideoTable
) -> None:
    with living(house, videos, f"stop-{uuid.uuid4().hex[:6]}") as load:
        family, began = house.family(), time.monotonic()
        assert house.stop() == 0, house.text()
        assert time.monotonic() - began < WITHIN_S
        # Python's own resource tracker ends at the end of ours, a moment after it.
        until(lambda: not alive(family), within_s=3.0, what=lambda: alive(family))
        house.start()
        house.wait_serving()
        accepted = load.accepted
        until(lambda: load.accepted > accepted, within_s=CATCH_UP_S)
        seen = load.end()
    catches_up(house, seen, table)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[House]:
    """A house with servers of its own, not started."""
    house = House(tmp_path)
    yield house
    if house.process.poll() is None:
        house.process.kill()


@pytest.mark.parametrize("when", ["at once", "broker ", "topics ", "features "])
def test_a_stop_during_the_start_leaves_nothing(own: House, when: str) -> None:
    own.start()
    seen: set[psutil.Process] = set()

    def reached() -> bool:
        seen.update(own.family())
        return own.says(when) or (when == "at once" and len(seen) > 1)

    until(reached, within_s=120.0, what=own.text)
    seen.update(own.family())
    began = time.monotonic()
    assert own.stop() == 130, own.text()
    assert time.monotonic() - began < WITHIN_S
    until(lambda: not alive(list(seen)), within_s=3.0, what=lambda: alive(list(seen)))
    assert regions(own.process.pid) == []
