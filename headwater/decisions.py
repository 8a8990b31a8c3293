"""What changes what serves: each decision is taken alone, put on record, and then the nodes are told.

A crash between leaves what serves as the record has it: what was not recorded never happened, what was not told is told again.
"""

import shutil
from collections.abc import Mapping

from headwater.releases import tell
from headwater.settings import Settings
from models.learning import record, releases
from models.learning.gate import Learned
from models.learning.record import Decision, Standing
from streams.clock import now_ms


class NotPossible(ValueError):
    """This can't be done with these releases. The message says why and what can be."""


def release(settings: Settings, model: str, learned: Learned) -> Decision:
    """Decide what becomes of what was learned, do it, and return that.

    What passed goes to a share of viewers first where learning.canary_share, canary_s and every_s are set, else to all. While a
    version is pinned or a canary runs it is held back, and what was rolled back once stays so.

    Raises:
        OSError: the disk or the broker takes it not.
    """
    root, verdict = settings.learning.releases, learned.verdict
    with record.alone(root):
        now = standing(settings, model)
        again = [version for version in now.rolled_back if releases.same_files(learned.files, version)]
        if not verdict.passed:
            return _recorded(settings, model, "refused", verdict.reason, figures=verdict.figures)
        if again:
            reason = f"the same files as {again[0]}, which was rolled back: {verdict.reason}"
            return _recorded(settings, model, "refused", reason, figures=verdict.figures)
        if now.pinned:
            return _recorded(
                settings, model, "held", f"passed, pinned to {now.pinned}: {verdict.reason}", figures=verdict.figures
            )
        if is_watched(settings, model, now):
            reason = f"passed, {now.canary} is being watched: {verdict.reason}"
            return _recorded(settings, model, "held", reason, figures=verdict.figures)
        written = releases.write(root, model, learned.files, figures=verdict.figures, at=now_ms(), kept=now.kept)
        what: record.What = "canary" if begins_as_canary(settings, model) else "released"
        try:
            made = _recorded(settings, model, what, verdict.reason, version=written.version, figures=verdict.figures)
        except OSError:
            # Nobody would know of it.
            shutil.rmtree(root / model / written.version, ignore_errors=True)
            raise
        tell(settings, model)
        return made


def failed(settings: Settings, model: str, reason: str) -> None:
    """Put on record that learning ended badly, which changes nothing, for operators to see.

    Raises:
        OSError: the disk takes it not.
    """
    with record.alone(settings.learning.releases):
        _recorded(settings, model, "failed", reason, by="learner")


def begins_as_canary(settings: Settings, model: str) -> bool:
    """Return whether what passes the gate goes to a share of viewers first."""
    learning = settings.learning
    return min(learning.canary_share, learning.canary_s.of(model), learning.every_s) > 0


def is_watched(settings: Settings, model: str, now: Standing) -> bool:
    """Return whether a canary runs that a learner watches: one that nobody does is replaced by the next release."""
    return bool(now.canary) and begins_as_canary(settings, model)


def promote(settings: Settings, model: str, version: str, *, by: str, reason: str, figures: Mapping[str, float | None]) -> None:
    """Let the canary serve everybody, if it still is one."""
    with record.alone(settings.learning.releases):
        if standing(settings, model).canary == version:
            _recorded(settings, model, "promoted", reason, by=by, version=version, figures=figures)
            tell(settings, model)


def end_canary(
    settings: Settings, model: str, version: str, *, by: str, reason: str, figures: Mapping[str, float | None]
) -> None:
    """Take the canary back, if it still is one: its viewers get what all others do."""
    with record.alone(settings.learning.releases):
        now = standing(settings, model)
        if now.canary == version:
            _recorded(settings, model, "rolled back", reason, by=by, version=version, to=now.serving, figures=figures)
            tell(settings, model)


def roll_back(settings: Settings, model: str, *, to: str = "", by: str, reason: str) -> Decision:
    """Take back the canary where one runs, else what serves, for what served before it or the version `to`.

    Raises:
        NotPossible: there is nothing to take back, nothing to go back to, or a version is pinned.
    """
    with record.alone(settings.learning.releases):
        now = standing(settings, model)
        if now.pinned:
            raise NotPossible(f"{model} is pinned to {now.pinned}: `headwater releases unpin {model}` first, or pin another")
        if now.canary and not to:
            bad, to = now.canary, now.serving
        elif not now.serving:
            raise NotPossible(f"no {model} serves everybody: there is nothing to roll back")
        else:
            bad, to = now.serving, to or _before(settings, model, now)
            _on_disk(settings, model, to)
            if to == bad:
                raise NotPossible(f"{model} {to} serves already")
        made = _recorded(settings, model, "rolled back", reason, by=by, version=bad, to=to)
        tell(settings, model)
        return made


def pin(settings: Settings, model: str, version: str = "", *, by: str, reason: str) -> Decision:
    """Let a version, or what serves now, serve everybody until it is unpinned, whatever is learned.

    Raises:
        NotPossible: nothing serves, or the version is not on disk.
    """
    with record.alone(settings.learning.releases):
        version = version or standing(settings, model).serving
        if not version:
            raise NotPossible(f"no {model} serves: name the version to pin; `headwater releases list {model}` has them")
        _on_disk(settings, model, version)
        made = _recorded(settings, model, "pinned", reason, by=by, version=version)
        tell(settings, model)
        return made


def unpin(settings: Settings, model: str, *, by: str, reason: str) -> Decision:
    """Let what passes the gate serve again; until then what is pinned goes on.

    Raises:
        NotPossible: none is pinned.
    """
    with record.alone(settings.learning.releases):
        now = standing(settings, model)
        if not now.pinned:
            raise NotPossible(f"no {model} is pinned: nothing to unpin")
        return _recorded(settings, model, "unpinned", reason, by=by, version=now.pinned)


def standing(settings: Settings, model: str) -> Standing:
    """Return what the record says of a model."""
    return record.standing(record.read(settings.learning.releases), model)


def _before(settings: Settings, model: str, now: Standing) -> str:
    """Return what served before what serves now, and is still there."""
    there = set(releases.versions(settings.learning.releases, model))
    before = [version for version in now.served if version != now.serving and version in there]
    if not before:
        raise NotPossible(
            f"nothing served before {model} {now.serving} that is still on disk: name a version with --to "
            f"(`headwater releases list {model}`)"
        )
    return before[-1]


def _on_disk(settings: Settings, model: str, version: str) -> None:
    if releases.on_disk(settings.learning.releases, model, version) is None:
        there = releases.versions(settings.learning.releases, model)
        raise NotPossible(f"no {model} {version} in {settings.learning.releases}; there are: {', '.join(there) or 'none'}")


def _recorded(
    settings: Settings,
    model: str,
    what: record.What,
    reason: str,
    *,
    by: str = "gate",
    version: str = "",
    to: str = "",
    figures: Mapping[str, float | None] | None = None,
) -> Decision:
    made = Decision(
        at=now_ms(), model=model, what=what, by=by, reason=reason, version=version, to=to, figures=dict(figures or {})
    )
    record.append(settings.learning.releases, made)
    return made
