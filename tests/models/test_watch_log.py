import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.retrieval.log import MOST_WATCHES, WatchLog, watch_log
from streams.events import Interaction, Upload


def upload(video: str, title: str = "a title", **fields: object) -> Upload:
    return Upload(event_id=video, video_id=video, author_id="a", title=title, uploaded_at=0, **fields)  # type: ignore[arg-type]


def watch(viewer: str, video: str, at: int, action: str = "complete", event: str = "") -> Interaction:
    return Interaction(
        event_id=event or f"{viewer}-{video}-{at}-{action}", user_id=viewer, video_id=video, action=action, occurred_at=at
    )  # type: ignore[arg-type]


def log(*watches: Interaction, videos: str = "abcde") -> WatchLog:
    return watch_log([upload(video) for video in videos], watches)


def test_each_viewers_watches_are_in_the_order_of_their_times() -> None:
    known = log(watch("u", "b", 3), watch("v", "a", 1), watch("u", "a", 1), watch("u", "c", 2))
    assert known.viewer_ids == ("u", "v")
    assert [known.video_ids[row] for row in known.of(0)] == ["a", "c", "b"]
    assert list(known.lengths) == [3, 1]
    assert list(known.counts()) == [2, 1, 1, 0, 0]
    assert list(known.viewers()) == [0, 0, 0, 1]


def test_what_comes_twice_counts_once_and_what_nobody_uploaded_not_at_all() -> None:
    known = log(watch("u", "a", 5), watch("u", "a", 5), watch("u", "a", 9), watch("u", "a", 2, "like"), watch("u", "z", 3))
    assert (list(known.videos), list(known.at)) == ([0], [2])
    assert known.dropped == {
        "that came twice": 1, "of a video watched before": 2, "of unknown videos": 1, "of viewers with too many": 0,
    }  # fmt: skip


@given(st.permutations(range(4)))
def test_the_interest_is_the_strongest_that_was_shown_in_whatever_order_the_events_come(order: list[int]) -> None:
    events = [watch("u", "a", 1_000), watch("u", "a", 5_000, "like"), watch("u", "b", 8_000, "comment"), watch("u", "b", 8_500)]
    known = log(*(events[at] for at in order))
    assert (known.of(0).tolist(), known.at.tolist()) == ([0, 1], [1_000, 8_000])
    assert known.interest == pytest.approx([1.0, 0.8])


def test_what_is_said_of_a_video_after_the_next_one_was_watched_is_not_known_then() -> None:
    known = log(watch("u", "a", 1_000), watch("u", "b", 5_000), watch("u", "a", 5_000, "like"), watch("u", "b", 9_000, "share"))
    assert known.interest == pytest.approx([0.6, 1.0])
    # Of watches in one second nobody knows which was first: what was said in it is known of each.
    known = log(watch("u", "a", 1_000), watch("u", "b", 1_001), watch("u", "a", 1_002, "like"), watch("u", "b", 2_000, "like"))
    assert known.interest == pytest.approx([1.0, 1.0])


def test_only_what_was_wanted_counts() -> None:
    assert len(log(watch("u", "a", 1, "skip"), watch("u", "b", 1, "impression"), watch("u", "c", 1, "not_interested"))) == 0


def test_of_a_viewer_with_a_hundred_thousand_events_the_newest_count() -> None:
    videos = [str(at) for at in range(MOST_WATCHES + 50)]
    events = (watch("u", videos[at % len(videos)], at) for at in range(100_000))
    known = watch_log([upload(video) for video in videos], events)
    assert len(known) == MOST_WATCHES
    assert known.of(0)[-1] == len(videos) - 1
    assert known.dropped["of viewers with too many"] == 50


def test_a_title_and_its_tags_are_one_text() -> None:
    known = watch_log([upload("a", "Beef noodles", tags=("cooking", "fast")), upload("b", "")], [])
    assert known.texts == ("Beef noodles cooking fast", "")


def test_viewers_can_be_chosen_and_watches_cut() -> None:
    known = log(*(watch(viewer, video, at) for viewer in "uvw" for at, video in enumerate("abc")), watch("w", "d", 9, "like"))
    chosen = known.chosen(np.array([2, 0]))
    assert chosen.viewer_ids == ("w", "u")
    assert [list(chosen.of(viewer)) for viewer in (0, 1)] == [[0, 1, 2, 3], [0, 1, 2]]
    assert chosen.history(0).interest == pytest.approx([0.6, 0.6, 0.6, 1.0])
    assert chosen.history(0)[-2:].at.tolist() == [2, 9]
    cut = known.first(np.array([1, 0, 3]))
    assert [list(cut.of(viewer)) for viewer in range(3)] == [[0], [], [0, 1, 2]]
