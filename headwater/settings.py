"""All settings in one place: the rooms' own, composed from headwater.toml, the environment and a running stack.

An environment variable wins over the file (`HEADWATER_KAFKA__BOOTSTRAP_SERVERS` is `kafka.bootstrap_servers`); what both
leave empty is filled with the addresses of a stack that runs in the same `var` folder.
"""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from deploy.local import vllm
from deploy.local.endpoints import Endpoints, running
from deploy.settings import StackSettings
from feature_repo.settings import FeatureStoreSettings
from models.settings import (
    LOCAL,
    AgentSettings,
    LearningSettings,
    MediaSettings,
    StepSettings,
    TritonSettings,
    TuningSettings,
    UnderstandingSettings,
)
from serving.experiments.settings import ExperimentSettings
from serving.settings import ApiSettings, FeedSettings
from simulation.settings import AudienceSettings
from streams.kafka import KafkaSettings
from streams.settings import FlowSettings, TelemetrySettings
from streams.topics import TOPICS

DEFAULT_FILE = Path("headwater.toml")
ENV_PREFIX = "HEADWATER_"
# Options whose values are secret, or may hold a secret: no error and no log shows them.
SECRETS = (
    "api.keys", "api.session_secret", "features.connection_string", "kafka.client", "kafka.producer", "kafka.consumer",
    "understanding.api_key", "agent.api_key",
)  # fmt: skip


class BadSettings(ValueError):
    """The configuration can't be used. The message names the option, what came, and what was expected."""


class Settings(BaseSettings):
    """Every option of every room. What is passed in comes from the file, so the environment wins over it."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid")

    var: Path = Field(Path("var"), description="folder of all that is written: paths that begin with var/ lie in it")
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    features: FeatureStoreSettings = Field(default_factory=FeatureStoreSettings)
    triton: TritonSettings = Field(default_factory=TritonSettings)
    media: MediaSettings = Field(default_factory=MediaSettings)
    steps: StepSettings = Field(default_factory=StepSettings)
    understanding: UnderstandingSettings = Field(default_factory=UnderstandingSettings)
    agent: AgentSettings = Field(default_factory=AgentSettings)
    tuning: TuningSettings = Field(default_factory=TuningSettings)
    flows: FlowSettings = Field(default_factory=FlowSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    feed: FeedSettings = Field(default_factory=FeedSettings)
    experiments: ExperimentSettings = Field(default_factory=ExperimentSettings)
    learning: LearningSettings = Field(default_factory=LearningSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    stack: StackSettings = Field(default_factory=StackSettings)
    audience: AudienceSettings = Field(default_factory=AudienceSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    @model_validator(mode="after")
    def _move_into_var(self) -> Self:
        for section in (getattr(self, name) for name in type(self).model_fields):
            if isinstance(section, BaseModel):
                for name, value in section:
                    setattr(section, name, _moved(value, self.var))
        return self

    @model_validator(mode="after")
    def _keeps_what_it_shows(self) -> Self:
        if self.flows.video_kept_h < self.feed.max_age_h:
            raise ValueError(
                f"flows.video_kept_h is {self.flows.video_kept_h:g} and feed.max_age_h {self.feed.max_age_h:g}: "
                "a video would leave before the feed lets go of it; keep it at least as long"
            )
        return self

    @property
    def wants_vllm(self) -> bool:
        """Whether something here asks for the stack's own language model, and no address of one is known yet."""
        return LOCAL in (self.understanding.url, self.agent.url)

    def at(self, endpoints: Endpoints) -> Self:
        """Return these settings with their empty addresses filled from `endpoints`."""
        filled = self.model_copy(deep=True)
        filled.kafka.bootstrap_servers = self.kafka.bootstrap_servers or endpoints.kafka
        if "broker" in endpoints.embedded:
            # One worker a flow reads all partitions here: each more is one more long poll, and shares no work.
            filled.kafka.partitions = {topic.name: 1 for topic in TOPICS} | self.kafka.partitions
        filled.features.connection_string = self.features.connection_string or endpoints.redis
        if not self.triton.grpc_url:
            filled.triton.grpc_url, filled.triton.http_url = endpoints.triton_grpc, endpoints.triton_http
        for asking in (filled.understanding, filled.agent):
            if asking.url == LOCAL and endpoints.vllm:
                asking.url, asking.model = f"http://{endpoints.vllm}", vllm.MODEL
        if self.understanding.url == LOCAL and endpoints.vllm:
            filled.understanding.sees_frames = False
        if self.agent.url == LOCAL and endpoints.vllm:
            filled.agent.judged = min(self.agent.judged, vllm.JUDGED)
        return filled


def load(path: Path | None = None) -> Settings:
    """Return the settings of the file at `path` (or HEADWATER_CONFIG, or ./headwater.toml if there is one).

    Raises:
        BadSettings: the file is missing or no TOML, or an option is unknown or out of bounds.
    """
    named = path or (Path(config) if (config := os.environ.get("HEADWATER_CONFIG")) else None)
    file = named or DEFAULT_FILE
    if named is not None and not named.is_file():
        raise BadSettings(f"no configuration file at {named} (--config or HEADWATER_CONFIG)")
    given = _read(file) if file.is_file() else {}
    _check_names(given, file)
    try:
        settings = Settings(**given)
    except ValidationError as error:
        reasons = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}, got {_shown(e['loc'], e['input'])}" for e in error.errors())
        # Not chained: the error it comes from repeats every value that was given, and some of them are secret.
        raise BadSettings(f"{file} or {ENV_PREFIX}…: " + "; ".join(reasons)) from None
    except SettingsError as error:
        raise BadSettings(f"{ENV_PREFIX}…: {error}: lists and tables are given as JSON") from None
    endpoints = running(settings.var)
    return settings if endpoints is None else settings.at(endpoints)


def options(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the description of every option."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from options(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field.description or ""


def _shown(location: tuple[int | str, ...], value: Any) -> str:
    """Return a bad value as an error may show it: keys, passwords and tables that may hold some are left out."""
    name = ".".join(part for part in location if isinstance(part, str))
    if any(name == secret or name.startswith(f"{secret}.") for secret in SECRETS):
        return f"a {type(value).__name__} that is not shown"
    return f"a {type(value).__name__}" if isinstance(value, dict | list | tuple | BaseModel) else repr(value)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{file} is no TOML: {error}") from error


def _check_names(table: Mapping[str, Any], file: Path) -> None:
    """Raise BadSettings for an option that does not exist: a misspelt one would otherwise do nothing, silently."""
    known = {name for name, _ in options()}
    given = {name: f"{file}: {name}" for name in _leaves(table, known)}
    for variable in os.environ:
        if variable.startswith(ENV_PREFIX) and "__" in variable:
            given[variable.removeprefix(ENV_PREFIX).lower().replace("__", ".")] = variable
    for name, shown in given.items():
        if not any(name == option or name.startswith(f"{option}.") or option.startswith(f"{name}.") for option in known):
            close = difflib.get_close_matches(name, known, n=1)
            raise BadSettings(f"{shown} is no option" + (f"; did you mean {close[0]}?" if close else ""))


def _leaves(table: Mapping[str, Any], known: set[str], prefix: str = "") -> Iterator[str]:
    for key, value in table.items():
        name = prefix + key
        if isinstance(value, dict) and name not in known:
            yield from _leaves(value, known, f"{name}.")
        else:
            yield name


def _moved(value: Any, var: Path) -> Any:
    """Return `value`, a path (or several) that begins with var/ moved into `var`, anything else as it is."""
    if isinstance(value, tuple):
        return tuple(_moved(item, var) for item in value)
    if isinstance(value, str | Path) and (parts := Path(value).parts)[:1] == ("var",) and len(parts) > 1:
        return type(value)(var.joinpath(*parts[1:]))
    return value
