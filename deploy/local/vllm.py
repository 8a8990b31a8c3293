"""The embedded vLLM: a small language model behind OpenAI's chat protocol, on CPU, out of an environment of its own."""

import os
import urllib.request
from pathlib import Path

from deploy.local import binaries
from deploy.local.ports import LOOPBACK
from deploy.local.process import NotReady, Server

NAME = "vllm"
# What it answers to, and what perceptions that it wrote are told apart by.
MODEL = "SmolLM2-135M-Instruct"
# Tokens of a prompt and its answer: a viewer's history fits, and 11 such requests fit into the cache at once.
CONTEXT_TOKENS = 4096
# For keys and values; 23,000 tokens of this model in 32 bits, twice as many in 16. vLLM takes whole ones only.
CACHE_GIB = 1
# Videos of a pool that it judges for a plan within seconds: 20 cost 17 s of CPU.
JUDGED = 8
_CPU_INFO = Path("/proc/cpuinfo")
# The largest adapter that may be loaded: a larger bound costs time in every request with one.
LORA_RANK = 16
# Tokens of one step: an adapter that comes waits for the step under way; smaller steps cost a plan more.
STEP_TOKENS = 256
# Adapters whose requests it answers in one batch: what serves and its canary. Others take turns.
ADAPTERS = 2


def server(port: int, *, environment: Path, models_dir: Path, folder: Path) -> Server:
    """Return vLLM on `port`, serving the exported language model; `folder` is for what it keeps.

    Raises:
        BinaryMissing: vLLM is not installed, or the model not exported; with what to do.
    """
    install = binaries.vllm(environment)
    model = binaries.language_model(models_dir)
    return Server(
        name=NAME,
        command=[
            # It computes where nobody else does: whoever makes a page has the core at once, and not at the end of its turn.
            "chrt", "--idle", "0",
            install.python,
            # `vllm serve` looks for a package named vllm, which the CPU build is not.
            "-m", "vllm.entrypoints.openai.api_server",
            "--model", model,
            "--served-model-name", MODEL,
            "--host", LOOPBACK,
            "--port", str(port),
            "--max-model-len", str(CONTEXT_TOKENS),
            "--dtype", number_format(_CPU_INFO),
            "--enable-prefix-caching",
            # Adapters come and go while it runs (/v1/load_lora_adapter). With them vLLM compiles nothing on CPU: it starts
            # sooner, needs no C++ compiler, and answers more slowly.
            "--enable-lora",
            "--max-lora-rank", str(LORA_RANK),
            "--max-loras", str(ADAPTERS),
            # In memory: what takes their places is loaded beside them.
            "--max-cpu-loras", str(2 * ADAPTERS),
            "--max-num-batched-tokens", str(STEP_TOKENS),
            # A small model that may write blanks between fields writes nothing else.
            "--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}',
            "--disable-uvicorn-access-log",
        ],
        environment={
            "HF_HUB_OFFLINE": "1",
            "LD_PRELOAD": str(install.openmp),
            "OMP_NUM_THREADS": str(os.cpu_count() or 1),
            # Three processes that import a thousand modules each: compiled anew, they take two minutes to start.
            "PYTHONDONTWRITEBYTECODE": "",
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
            "VLLM_CACHE_ROOT": str(folder.resolve()),
            "VLLM_CPU_KVCACHE_SPACE": str(CACHE_GIB),
            # Bound to cores, its threads would wait behind whatever else runs on them.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            # Its processes talk to each other by TCP as well, on the address of the machine otherwise.
            "VLLM_HOST_IP": LOOPBACK,
            "VLLM_NO_USAGE_STATS": "1",
        },
        ready=lambda: check(f"{LOOPBACK}:{port}"),
        deadline="stack.vllm_start_timeout_s",
    )  # fmt: skip


def number_format(cpu_info: Path) -> str:
    """Return in which numbers the model computes: bfloat16 on processors that know it.

    Others take it apart: on an EPYC with AVX2 alone a prompt of 830 tokens costs 23 s of CPU in it, and 5 s in float32.
    """
    # x86's name of the line, and ARM's.
    flags = next((line for line in _lines(cpu_info) if line.startswith(("flags", "Features"))), "").split()
    return "bfloat16" if {"avx512_bf16", "amx_bf16", "bf16"} & set(flags) else "float32"


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []


def check(address: str, *, timeout_s: float = 2.0) -> None:
    """Raise NotReady unless the server at `address` (host:port) is healthy."""
    try:
        urllib.request.urlopen(f"http://{address}/health", timeout=timeout_s).close()
    except OSError as error:
        raise NotReady(f"vLLM at {address}: {error}") from error
