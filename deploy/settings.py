"""How the local stack starts: ports, folders, deadlines."""

from pathlib import Path

from pydantic import BaseModel, Field


class StackSettings(BaseModel):
    """Options of the servers that `headwater up` starts itself, those whose address is empty. Port 0 picks a free one."""

    kafka_port: int = Field(0, ge=0, le=65535, description="the embedded broker's port; 0 picks a free one")
    redis_port: int = Field(0, ge=0, le=65535, description="the embedded Redis' port; 0 picks a free one")
    triton_grpc_port: int = Field(0, ge=0, le=65535, description="the embedded Triton's gRPC port; 0 picks a free one")
    triton_http_port: int = Field(0, ge=0, le=65535, description="the embedded Triton's HTTP port; 0 picks a free one")
    triton_metrics_port: int = Field(0, ge=0, le=65535, description="the embedded Triton's metrics port; 0 picks a free one")
    triton_env: Path = Field(
        Path(".venv-triton"), description="the environment with Triton in it, made by `make setup`; relative to the checkout"
    )
    vllm_port: int = Field(0, ge=0, le=65535, description="the embedded vLLM's port; 0 picks a free one")
    vllm_env: Path = Field(
        Path(".venv-vllm"), description="the environment with vLLM in it, made by `make llm`; relative to the checkout"
    )
    models_dir: Path = Field(Path("var/models"), description="folder of the exported models that Triton and vLLM load")
    start_timeout_s: float = Field(60.0, gt=0, description="longest wait for a server to answer; a busy machine needs more")
    vllm_start_timeout_s: float = Field(
        300.0, gt=0, description="the same for vLLM, which takes a minute where nothing else runs"
    )
    stop_timeout_s: float = Field(
        3.0, gt=0, description="time for each step of a stop (API, flows, servers); what still runs then is ended"
    )
    restart_max_s: float = Field(30.0, gt=0, description="longest wait before a process that keeps dying is started again")
