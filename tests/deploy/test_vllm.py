"""How the embedded vLLM is started, and what is said where it is not installed. tests/models/test_real_rewrite.py runs it."""

import json
import subprocess
from pathlib import Path

import pytest

from deploy.local import vllm
from deploy.local.binaries import BinaryMissing
from deploy.local.process import NotReady, Server
from deploy.local.stack import Stack
from headwater.settings import Settings

CHECKOUT = Path(__file__).resolve().parents[2]
NOWHERE = {"kafka": {"bootstrap_servers": "127.0.0.1:9"}, "features": {"connection_string": "127.0.0.1:9"}}


@pytest.fixture
def installed(tmp_path: Path) -> tuple[Path, Path]:
    """An environment and a folder of models that look as `make llm` leaves them."""
    environment, models = tmp_path / "environment", tmp_path / "models"
    for file in ("bin/python", "lib/libiomp5.so", "setup.stamp"):
        (environment / file).parent.mkdir(parents=True, exist_ok=True)
        (environment / file).touch()
    (models / "language_model").mkdir(parents=True)
    (models / "language_model" / "manifest.json").touch()
    return environment, models


def server_of(installed: tuple[Path, Path], folder: Path) -> Server:
    return vllm.server(4711, environment=installed[0], models_dir=installed[1], folder=folder)


def test_it_serves_the_exported_model_on_loopback_with_adapters(installed: tuple[Path, Path], tmp_path: Path):
    server = server_of(installed, tmp_path / "vllm")
    command = [str(part) for part in server.command]

    def after(option: str) -> str:
        return command[command.index(option) + 1]

    assert command[:4] == ["chrt", "--idle", "0", str(installed[0] / "bin" / "python")]
    assert after("--model") == str(installed[1] / "language_model")
    assert (after("--host"), after("--port"), after("--served-model-name")) == ("127.0.0.1", "4711", vllm.MODEL)
    assert {"--enable-lora", "--enable-prefix-caching"} <= set(command)
    assert after("--max-num-batched-tokens") == str(vllm.STEP_TOKENS)
    assert json.loads(after("--structured-outputs-config"))["disable_any_whitespace"]
    assert server.environment["HF_HUB_OFFLINE"] == server.environment["VLLM_NO_USAGE_STATS"] == "1"
    assert server.environment["LD_PRELOAD"] == str(installed[0] / "lib" / "libiomp5.so")
    assert server.environment["VLLM_CACHE_ROOT"] == str(tmp_path / "vllm")


@pytest.mark.parametrize(
    ("told", "computed"),
    [
        ("flags\t: fpu avx2 avx512f", "float32"),
        ("flags\t: avx512f avx512_bf16", "bfloat16"),
        ("flags\t: amx_bf16 amx_tile", "bfloat16"),
        ("Features\t: fp asimd bf16", "bfloat16"),
        ("BogoMIPS\t: 50.00", "float32"),
    ],
)
def test_it_computes_in_numbers_that_the_processor_knows(tmp_path: Path, told: str, computed: str):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{told}\n")
    assert vllm.number_format(tmp_path / "cpuinfo") == computed
    assert vllm.number_format(tmp_path / "none") == "float32"


@pytest.mark.parametrize("missing", ["bin/python", "lib/libiomp5.so", "setup.stamp"])
def test_an_environment_that_is_missing_or_unfinished_says_make_llm(installed: tuple[Path, Path], tmp_path: Path, missing: str):
    (installed[0] / missing).unlink()
    with pytest.raises(BinaryMissing, match=rf"no .*{missing} \(stack.vllm_env\): run `make llm`"):
        server_of(installed, tmp_path)


def test_a_model_that_was_not_exported_says_make_llm(installed: tuple[Path, Path], tmp_path: Path):
    (installed[1] / "language_model" / "manifest.json").unlink()
    with pytest.raises(BinaryMissing, match=r"no language model in .*: run `make llm`"):
        server_of(installed, tmp_path)


def test_it_is_not_ready_before_it_answers():
    with pytest.raises(NotReady, match=r"vLLM at 127\.0\.0\.1:1"):
        vllm.check("127.0.0.1:1")


def test_a_stack_has_it_only_where_it_is_wanted(installed: tuple[Path, Path], tmp_path: Path):
    stack = stack_of(settings_of(tmp_path, installed))
    assert stack.endpoints.embedded == ("vllm",)
    assert stack.endpoints.vllm.startswith("127.0.0.1:")
    plain = settings_of(tmp_path, installed, url="")
    assert stack_of(plain).endpoints.vllm == ""


def test_the_setup_refuses_what_it_does_not_know():
    done = subprocess.run(
        ["deploy/local/setup.sh", "browsers"], cwd=CHECKOUT, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, "expected browser or llm, or both, got browsers" in done.stderr) == (1, True)


def settings_of(var: Path, installed: tuple[Path, Path], *, url: str = "local") -> Settings:
    stack = {"vllm_env": installed[0], "models_dir": installed[1]}
    triton = {"grpc_url": "127.0.0.1:9", "http_url": "127.0.0.1:9"}
    return Settings.model_validate({"var": var, **NOWHERE, "triton": triton, "stack": stack, "understanding": {"url": url}})


def stack_of(settings: Settings) -> Stack:
    return Stack(
        settings.stack,
        kafka=settings.kafka,
        features=settings.features,
        triton=settings.triton,
        var=settings.var,
        language_model=settings.wants_vllm,
    )
