"""A language model and its adapters, for a command that needs nothing else: one that runs, or is configured, or its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from deploy.local import binaries, vllm
from deploy.local.stack import Stack
from headwater.encoders import NOWHERE
from headwater.settings import BadSettings, Settings
from models.settings import LOCAL, AgentSettings
from models.viewers import policy
from models.viewers.adapters import Adapters, Refused

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


def model_of(settings: Settings) -> str:
    """Return the name of the agent's model, as its server has it."""
    return vllm.MODEL if settings.agent.url == LOCAL else settings.agent.model


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
    with Adapters(agent.url, api_key=agent.api_key) as adapters:
        try:
            adapters.load(name, folder.resolve())
        except Refused as error:
            raise ConnectionError(f"{error}; adapters need VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora") from error
        try:
            yield calibrated
        finally:
            # One that is gone has no adapter, and why it went matters more.
            with suppress(ConnectionError):
                adapters.unload(name)


def _checked(agent: AgentSettings) -> AgentSettings:
    with Adapters(agent.url, api_key=agent.api_key) as adapters:
        try:
            served = adapters.names(within_s=PATIENCE_S)
        except ConnectionError as error:
            raise ConnectionError(f'{error}; start the server (agent.url), or set agent.url = "local"') from error
    if agent.model not in served:
        raise ConnectionError(
            f"{agent.url}: expected the model {agent.model} (agent.model), it serves {', '.join(sorted(served))}"
        )
    return agent
