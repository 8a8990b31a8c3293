"""The evaluation of clips as a page: what was seen, what was said of it, and the labels nearest to it."""

import base64
from importlib.resources import files
from pathlib import Path

import numpy as np
from jinja2 import Environment, select_autoescape

from models.perception.decoder.pictures import jpeg_of
from models.perception.evaluation.clips import ClipsReport
from models.perception.media import sample
from models.settings import MediaSettings

NEAREST = 5
# Pictures are for looking at: a third of what is perceived.
STEP = 3
SHOWN = "as it runs"


def write(report: ClipsReport, into: Path, media: MediaSettings, *, facts: dict[str, str]) -> None:
    """Write the page to `into`: one file that needs no other. `facts` say of what and how it was made."""
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath("page.html.jinja").read_text(encoding="utf-8"))
    depth = next(each for each in report.depths if each.name == SHOWN)
    clips = []
    for at, clip in enumerate(report.clips):
        similarity = report.similarities[SHOWN][at]
        clips.append(
            {
                "clip": clip,
                "perception": depth.perceptions[at],
                "rank": depth.retrieval.ranks[at],
                "nearest": [(report.labels[other], float(similarity[other])) for other in np.argsort(-similarity)[:NEAREST]],
                "frames": [_data_url(frame) for frame in sample(clip.path, media).middles],
            }
        )
    into.parent.mkdir(parents=True, exist_ok=True)
    into.write_text(template.render(depths=report.depths, clips=clips, facts=facts), encoding="utf-8")


def _data_url(frame: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg_of(frame[::STEP, ::STEP])).decode()
