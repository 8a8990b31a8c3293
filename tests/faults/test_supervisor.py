"""What dies is started again, ever later if it dies again, and the operator is told."""

import uuid

import pytest

from headwater.flows import FLOWS
from streams.videos import VideoTable
from tests.faults.load import CATCH_UP_S, catches_up, living
from tests.faults.world import House, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


def test_a_process_that_dies_over_and_over_is_started_ever_later_and_said_to(
    house: House, videos: list[str], table: VideoTable
) -> None:
    name = "flow-profile"
    with living(house, videos, f"dies-{uuid.uuid4().hex[:6]}") as load:
        for _ in range(3):
            until(lambda: house.piece(name), within_s=CATCH_UP_S)
            piece = house.piece(name)
            assert piece is not None
            before = house.text().count(f"{name} runs again")
            piece.kill()
            until(lambda before=before: house.text().count(f"{name} runs again") > before, within_s=CATCH_UP_S)
        seen = load.end()
    waits = [
        line.split(" starts again in ")[1].split(" s;")[0] for line in house.text().splitlines() if f"{name} ended" in line
    ]
    assert float(waits[-1]) == 2 * float(waits[-2]) == 4 * float(waits[-3])
    assert house.says(name, "ended with status -9", "its log: ")
    catches_up(house, seen, table, killed=True)


def test_the_death_of_the_process_that_all_are_forked_from_ends_none_for_good(
    house: House, videos: list[str], table: VideoTable
) -> None:
    forks = next(process for process in house.family() if "multiprocessing.forkserver" in " ".join(process.cmdline()))
    pieces = [*(f"flow-{name}" for name in FLOWS), "api"]
    before = {name: house.text().count(f"{name} runs again") for name in pieces}
    with living(house, videos, f"forks-{uuid.uuid4().hex[:6]}") as load:
        forks.kill()
        until(
            lambda: all(house.text().count(f"{name} runs again") > before[name] for name in pieces),
            within_s=CATCH_UP_S,
            what=house.text,
        )
        until(lambda: house.http.get("/readyz").status_code == 200, within_s=CATCH_UP_S)
        seen = load.end()
    catches_up(house, seen, table, killed=True)


def test_a_process_that_hangs_is_seen_and_may_be_killed(house: House, videos: list[str], table: VideoTable) -> None:
    def state() -> object:
        flows = house.http.get("/v1/ops").json()["flows"]
        return next(flow["state"] for flow in flows if flow["name"] == "profile")

    with living(house, videos, f"hangs-{uuid.uuid4().hex[:6]}") as load:
        until(lambda: state() == "running", within_s=CATCH_UP_S, what=state)
        piece = house.piece("flow-profile")
        assert piece is not None
        piece.suspend()
        until(lambda: state() == "silent", within_s=CATCH_UP_S, what=state)
        assert house.metric('headwater_flow_up{flow="profile"}') == 0.0
        piece.kill()
        until(lambda: state() == "running", within_s=CATCH_UP_S, what=state)
        seen = load.end()
    catches_up(house, seen, table, killed=True)
