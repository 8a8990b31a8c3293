"""What Redis acknowledged and then forgot comes back."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from deploy.local import binaries
from deploy.local.ports import choose
from feature_repo.settings import FeatureStoreSettings
from feature_repo.unsure import KEPT_S, Unsure
from streams.features import UserActivity

NOW = 1_760_000_000_000


def activity(user_id: str, events: int = 1) -> UserActivity:
    return UserActivity(
        user_id=user_id, as_of=NOW, events=events, impressions=0, plays=0, completes=0, likes=0, skips=0, skip_streak=0,
        session_id="s", session_events=1, session_watch_ms=0,
    )  # fmt: skip


def rows(*of: UserActivity) -> dict[tuple[type[UserActivity], tuple[str, str]], UserActivity]:
    return {(UserActivity, ("user_id", row.user_id)): row for row in of}


def test_only_the_last_seconds_before_redis_went_are_written_again_however_long_it_was_away() -> None:
    now = [0.0]
    unsure = Unsure(lambda: now[0])
    unsure.connected()
    assert unsure.written(rows(activity("old"))) == {}
    now[0] += KEPT_S + 1
    assert unsure.written(rows(activity("ann"), activity("bob"))) == {}
    assert unsure.written(rows(activity("bob", 2))) == {}
    now[0] += 3600
    unsure.connected()
    assert unsure.written(rows(activity("cem"))) == rows(activity("ann"), activity("bob", 2))
    assert unsure.written(rows(activity("cem"))) == {}


def test_the_rows_of_every_thread_come_back_whichever_of_them_found_redis_back() -> None:
    unsure = Unsure(lambda: 0.0)
    with ThreadPoolExecutor(1) as other:
        unsure.written(rows(activity("ann")))
        other.submit(unsure.written, rows(activity("bob"))).result()
        unsure.connected()
        assert unsure.written(rows(activity("cem"))) == rows(activity("ann"))
        assert other.submit(unsure.written, rows(activity("dan"))).result() == rows(activity("bob"))


def test_who_was_erased_is_not_written_again() -> None:
    unsure = Unsure(lambda: 0.0)
    unsure.written(rows(activity("ann"), activity("bob")))
    unsure.forget(("user_id", "ann"), [UserActivity], [["HDEL", "ann"]])
    assert unsure.erased() == []
    unsure.connected()
    assert unsure.erased() == [["HDEL", "ann"]]
    assert unsure.written(rows(activity("cem"))) == rows(activity("bob"))
    assert unsure.erased() == []


@pytest.mark.stack
def test_rows_that_a_killed_redis_forgot_are_there_again_after_the_next_write(tmp_path: Path) -> None:
    from feature_repo import store
    from feature_repo.reader import FeatureReader
    from feature_repo.writer import FeatureWriter

    port = choose(0, setting="test")
    settings = FeatureStoreSettings(
        connection_string=f"127.0.0.1:{port}", log=str(tmp_path / "log"), registry=str(tmp_path / "registry.db")
    )
    server = forgetful_redis(port, tmp_path)
    try:
        store.apply(settings)
        writer = FeatureWriter(settings)
        writer.write([activity("ann", 7), activity("bob", 3)])
        server.kill()
        server.wait()
        server = forgetful_redis(port, tmp_path)
        writer.write([activity("bob", 4)])
        reader = FeatureReader(settings)
        found = {user: reader.viewer(user).activity for user in ("ann", "bob")}
        assert {user: row and row.events for user, row in found.items()} == {"ann": 7, "bob": 4}
        writer.close()
    finally:
        server.kill()
        server.wait()


def forgetful_redis(port: int, folder: Path) -> "subprocess.Popen[bytes]":
    """Start a Redis that keeps nothing on disk, and return once it answers."""
    command = [str(binaries.redis()), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 20.0
    while True:
        try:
            Redis("127.0.0.1", port).ping()
        except RedisError:
            assert time.monotonic() < deadline, "Redis did not answer within 20 s"
        else:
            return server
