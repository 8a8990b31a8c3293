"""Towers that serve are those that were trained; files that are no such towers are refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.retrieval.export import export
from models.retrieval.log import History
from models.retrieval.recipe import SASREC_IDS
from models.retrieval.served import ABOUT, KNOWN, VIDEO, VIEWER, BadTowers, ServedTowers
from models.retrieval.towers import Towers
from models.retrieval.training import train
from tests.models.test_leave_one_out import log_of
from tests.models.test_towers import SMALL, cycles, titles

LOG = replace(cycles(videos=25), texts=tuple(f"a title of topic {row % 4}" for row in range(25)))
TITLES = np.concatenate([titles(24), titles(1)])


@pytest.fixture(scope="module")
def towers() -> Towers:
    return train(LOG, TITLES, replace(SMALL, epochs=3))


def history(*videos: int) -> History:
    """Return a history of any interests and gaps, one of them back in time."""
    rng = np.random.default_rng(len(videos))
    at = np.cumsum(rng.choice([-5_000, 0, 900_000, 10**8, 10**10], len(videos)))
    return History(np.array(videos), rng.uniform(-1, 1, len(videos)).astype(np.float32), at)


@pytest.fixture(scope="module")
def files(towers: Towers) -> dict[str, bytes]:
    return export(towers, LOG)


def folder_of(files: dict[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_served_towers_say_what_the_trained_ones_say(towers: Towers, files: dict[str, bytes], tmp_path: Path) -> None:
    served = ServedTowers(folder_of(files, tmp_path), dimensions=8)
    vectors = served.videos(LOG.video_ids, LOG.texts, TITLES)
    with torch.inference_mode():
        expected = towers.video()
        # What watches told is kept in float16.
        assert vectors == pytest.approx(expected.numpy(), abs=2e-3)
        for seen in (history(3), history(1, 2, 3), history(*range(24), *range(24), *range(24))):
            wanted = towers.wanted_next(expected, [seen])[0]
            assert served.wanted(expected.numpy(), seen) == pytest.approx(wanted.numpy(), abs=1e-4)


def test_a_video_that_came_later_has_what_is_in_it_and_no_more(files: dict[str, bytes], tmp_path: Path) -> None:
    served = ServedTowers(folder_of(files, tmp_path), dimensions=8)
    known, new, other = served.videos(["0", "new", "newer"], [LOG.texts[0]] * 2 + [""], TITLES[[0, 0, 0]])
    assert not np.allclose(known, new)
    assert not np.allclose(new, other)
    alone = served.videos(["new"], [LOG.texts[0]], TITLES[:1])[0]
    assert new == pytest.approx(alone, abs=1e-6)


def test_towers_of_a_recipe_with_fewer_parts_serve_too(tmp_path: Path) -> None:
    log = log_of([0, 1, 2], [1, 2, 3], videos=4)
    plain = replace(SMALL, epochs=1, terms=(), titles=False, appearance=False, actions=False, gaps=False)
    served = ServedTowers(folder_of(export(train(log, titles(4), plain), log), tmp_path), dimensions=8)
    assert served.videos(["0", "new"], ["", ""], titles(2)).shape == (2, SMALL.width)


def test_towers_with_semantic_ids_serve_as_they_were_trained(tmp_path: Path) -> None:
    trained = train(LOG, TITLES, replace(SMALL, epochs=1, codes=2))
    served = ServedTowers(folder_of(export(trained, LOG), tmp_path), dimensions=8)
    with torch.inference_mode():
        assert served.videos(LOG.video_ids, LOG.texts, TITLES) == pytest.approx(trained.video().numpy(), abs=2e-3)


def test_towers_that_score_by_cosine_are_not_exported() -> None:
    log = log_of([0, 1, 2], [1, 2, 3], videos=4)
    cosine = train(log, titles(4), replace(SASREC_IDS, width=32, epochs=1, places=128))
    with pytest.raises(ValueError, match="dot product"):
        export(cosine, log)


@pytest.mark.parametrize("file", [ABOUT, KNOWN, VIDEO, VIEWER])
@pytest.mark.parametrize("damage", ["gone", "truncated", "empty", "rubbish"])
def test_files_that_are_not_whole_are_refused(files: dict[str, bytes], tmp_path: Path, file: str, damage: str) -> None:
    folder = folder_of(files, tmp_path)
    match damage:
        case "gone":
            (folder / file).unlink()
        case "truncated":
            (folder / file).write_bytes(files[file][: len(files[file]) // 2])
        case "empty":
            (folder / file).write_bytes(b"")
        case "rubbish":
            (folder / file).write_bytes(bytes(range(256)) * 20)
    with pytest.raises(BadTowers, match="expected whole towers"):
        ServedTowers(folder, dimensions=8)


def test_another_format_or_other_embeddings_are_refused(files: dict[str, bytes], tmp_path: Path) -> None:
    folder = folder_of(files, tmp_path)
    with pytest.raises(BadTowers, match="384-d"):
        ServedTowers(folder, dimensions=384)
    for other in (1, 99):
        (folder / ABOUT).write_text(json.dumps(json.loads(files[ABOUT]) | {"format": other}))
        with pytest.raises(BadTowers, match=f"expected format 2, got {other}; train the towers again"):
            ServedTowers(folder, dimensions=8)


def test_towers_that_give_nan_are_refused(towers: Towers, tmp_path: Path) -> None:
    broken = train(LOG, TITLES, replace(SMALL, epochs=1))
    with torch.no_grad():
        broken.viewer.norm.weight.fill_(torch.nan)
    with pytest.raises(BadTowers, match="finite"):
        ServedTowers(folder_of(export(broken, LOG), tmp_path), dimensions=8)
