"""A process that keeps dying is started ever less often; one that ran well is started at once again."""

from headwater.backoff import FIRST_WAIT_S, WELL_AFTER_S, Backoff


def test_waits_double_up_to_the_longest():
    backoff, waits = Backoff(longest_s=3.0, now=0.0), []
    for now in (1.0, 2.0, 3.0, 4.0, 5.0):
        waits.append(backoff.died(now=now))
        backoff.started(now=now)
    assert waits == [FIRST_WAIT_S, 1.0, 2.0, 3.0, 3.0]


def test_a_death_is_news_once():
    backoff = Backoff(longest_s=30.0, now=0.0)
    assert backoff.died(now=1.0) == FIRST_WAIT_S
    assert backoff.died(now=1.1) is None
    assert not backoff.is_due(now=1.1)
    assert backoff.is_due(now=1.0 + FIRST_WAIT_S)


def test_after_a_long_run_the_first_wait_is_short_again():
    backoff = Backoff(longest_s=30.0, now=0.0)
    for now in (1.0, 2.0, 3.0):
        backoff.died(now=now)
        backoff.started(now=now)
    assert backoff.died(now=3.0 + WELL_AFTER_S) == FIRST_WAIT_S
