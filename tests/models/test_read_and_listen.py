import numpy as np
import pytest

from models.perception.encoders import Writing
from models.perception.language import language_of
from models.perception.listen import heard
from models.perception.read import lines


def writing(*rows: tuple[tuple[str, float], ...]) -> Writing:
    texts, confidences = [[text for text, _ in row] for row in rows], [[sure for _, sure in row] for row in rows]
    return Writing(texts, np.array(confidences, np.float32))


def test_a_line_that_stays_is_read_once_in_the_order_it_is_seen() -> None:
    frames = writing((("Beef noodles", 0.9), ("@ann_cooks", 0.95)), (("@ann_cooks", 0.9), ("in  10 minutes", 0.85)))
    assert lines(frames) == ("Beef noodles", "@ann_cooks", "in 10 minutes")


def test_unsure_lines_and_single_letters_are_textures() -> None:
    assert lines(writing((("BEEF", 0.7), ("X", 0.9), ("三", 0.9), ("...!", 0.9), ("牛肉", 0.9)))) == ("牛肉",)


def test_a_page_of_text_is_cut() -> None:
    assert len(lines(writing(*(((f"line {at}", 0.9),) for at in range(40))))) == 12


def test_small_shares_of_sound_are_left_out() -> None:
    assert heard(np.array([0.5, 0.02, 0.3], np.float32)) == {"speech": 0.5, "noise": 0.3}


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Das Kind spielt Fußball", "de"),
        ("como hacer una tarta", "es"),
        ("как испечь хлеб", "ru"),
        ("学做红烧肉", "zh"),
        ("かわいい猫と遊ぶ動画です", "ja"),
        ("funny dog fails compilation", "en"),
        ("", "und"),
        ("😂😂", "und"),
        ("1234", "und"),
    ],
)
def test_the_language_of_a_text(text: str, language: str) -> None:
    assert language_of(text) == language


def test_any_text_has_a_language_or_none() -> None:
    assert language_of("line\none\x00 and\r\nmore " * 2_000) == "en"
