"""A language model and its adapters, for a command that needs nothing else: one that runs, or is configured, or its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from deploy.local import binaries
from deploy.local.stack import Stack
from headwater.encoders import NOWHERE
from headwater.settings import BadSettings, Settings
from models.settings import LOCAL, AgentSettings
from models.viewers import policy

# Of what is no question: longer than it takes to read an adapter of a large model from a slow disk.
PATIENCE_S = 60.0


def expected(settings: Settings) -> None:
    """Say at once if there will be no language model.

    Raises:
        BadSettings, BinaryMissing: none is configured, or the stack's own is not installed; with what to do.
    """
    if not settings.agent.url:
        raise BadSettings(
            'expected a language model, got none (agent.url is empty): run `make llm` and set agent.url = "local" '
            "(HEADWATER_AGENT__URL=local), or name a vLLM server; --without-agent judges all others"
        )
    if settings.agent.url == LOCAL:
        binaries.vllm(settings.stack.vllm_env)
        binaries.language_model(settings.stack.models_dir)


@contextmanager
def language_model_of(settings: Settings, console: Console) -> Iterator[AgentSettings]:
    """Yield where the agent's model is asked; start the stack's own where it is wanted and none runs.

    Raises:
        ConnectionError: the server does not answer, or has no such model.
    """
    expected(settings)
    if settings.agent.url != LOCAL:
        yield _checked(settings.agent)
        return
    alone = settings.model_copy(deep=True)
    alone.kafka.bootstrap_servers = alone.features.connection_string = alone.triton.grpc_url = NOWHERE
    stack = Stack(
        settings.stack, kafka=alone.kafka, features=alone.features, triton=alone.triton, var=settings.var, language_model=True
    )
    with console.status("starting vllm"):
        stack.start()
    try:
        yield _checked(settings.at(stack.endpoints).agent)
    finally:
        stack.stop()


@contextmanager
def adapter_of(agent: AgentSettings, name: str, folder: Path) -> Iterator[Callable[[float], float]]:
    """Let the server have the adapter in `folder` by that name meanwhile; yield what makes honest odds, as logits, of its own.

    Raises:
        BadPolicy: there is none, or it is of another model.
        ConnectionError: the server refused it.
    """
    if not (folder / policy.CONFIG).is_file():
        raise policy.BadPolicy(f"{folder}: expected an adapter, a folder with {policy.CONFIG}, got none")
    calibrated: Callable[[float], float] = policy.Calibration()
    if (folder / policy.MANIFEST).is_file():
        calibrated = policy.read(folder, base_model=agent.model).calibration
    _asked(agent, "POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder.resolve())})
    try:
        yield calibrated
    finally:
        # One that is gone has no adapter, and why it went matters more.
        with suppress(ConnectionError):
            _asked(agent, "POST", "/v1/unload_lora_adapter", {"lora_name": name})


def _checked(agent: AgentSettings) -> AgentSettings:
    served = [each["id"] for each in _asked(agent, "GET", "/v1/models").json()["data"]]
    if agent.model not in served:
        raise ConnectionError(f"{agent.url}: expected the model {agent.model} (agent.model), it serves {', '.join(served)}")
    return agent


def _asked(agent: AgentSettings, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {agent.api_key}"} if agent.api_key else {}
    try:
        with httpx.Client(base_url=agent.url, headers=headers, trust_env=False, timeout=PATIENCE_S) as client:
            answer = client.request(method, path, json=body)
    except httpx.HTTPError as error:
        raise ConnectionError(
            f'{agent.url} (agent.url): {type(error).__name__}: {error}; start the server, or set agent.url = "local"'
        ) from error
    if answer.is_error:
        hint = "; adapters need VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora" if answer.status_code == 404 else ""
        raise ConnectionError(f"{agent.url}{path}: {answer.status_code}: {answer.text[:300]}{hint}")
    return answer
