"""A knob that a controller turns until what is measured is what is wanted: proportional and integral, with clamps.

Tuned as Skogestad, "Simple analytic rules for model reduction and PID controller tuning" (2003), for a plant that is one lag:
a decayed sum follows the knob with the sum's own time constant, so that as the reset time leaves a first-order loop.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """The knob's range and where it stands without error; `gain` is by how much one unit of error turns it at once.

    `reset_s` is the plant's time constant; an error that stays turns the knob by as much again in each.
    """

    start: float
    low: float
    high: float
    gain: float
    reset_s: float


@dataclass(frozen=True)
class Knob:
    """Where a knob stands, and how much of that past errors have added."""

    value: float
    integral: float = 0.0


def turn(knob: Knob, tuning: Tuning, *, error: float, elapsed_s: float) -> Knob:
    """Return the knob after `elapsed_s` of `error` (above 0 turns it up).

    At a clamp, an error that pushes further is not remembered: with it, a target out of reach would hold the knob there long
    after the target, or the world, has changed.
    """
    # After a pause of hours its length says nothing of how long the error was there.
    elapsed_s = min(elapsed_s, tuning.reset_s)
    integral = knob.integral + tuning.gain * error * elapsed_s / tuning.reset_s
    value = tuning.start + tuning.gain * error + integral
    if (value > tuning.high and error > 0.0) or (value < tuning.low and error < 0.0):
        integral = knob.integral
    return Knob(min(tuning.high, max(tuning.low, value)), integral)
