"""The control plane's settings: one frozen object, made once in `main.py` from arguments and `STOKE_…` variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class ControlPlaneSettings(BaseSettings):
    """Every value has a default that suits one machine; `docs/operations.md` lists them."""

    model_config = SettingsConfigDict(env_prefix="STOKE_", frozen=True, extra="ignore")

    data: Path = Path("~/.stoke").expanduser()
    store: str = ""  # redis://… or unix://…
    socket: Path = Path("control-plane.sock")
    node: str = ""  # unix:PATH
    listen: str = ""  # HOST:PORT, instead of the socket
    backend: str = Field(default="auto", pattern="^(auto|process|docker|kubernetes)$")
    kubeconfig: str = ""  # "" = the Pod's own service account, else KUBECONFIG or ~/.kube/config
    namespace: str = ""  # of the cluster; "" = that of the kubeconfig's context or of the service account
    kubernetes_settings: Path | None = None  # YAML; docs/kubernetes.md has its table
    public_url: str = "http://127.0.0.1:9000"
    region: str = "cn-local"
    account_id: str = "1000000000000000"

    # A second is short against every launch and long against a decision; waiting requests are heard at once anyway.
    tick_s: float = Field(default=1.0, gt=0.0, le=60.0)
    drain_timeout_s: float = Field(default=30.0, ge=0.0, le=3600.0)  # for requests inside a DRAINING instance
    stop_grace_s: float = Field(default=10.0, ge=0.0, le=600.0)  # from SIGTERM to SIGKILL
    # FC keeps idle on-demand GPU instances for three to five minutes.
    on_demand_idle_s: float = Field(default=180.0, ge=0.0, le=86_400.0)
    # As in the gateway's settings: these are for invocations that are stopped before they end by themselves.
    async_record_s: float = Field(default=3600.0, ge=1.0, le=2_592_000.0)
    async_stateful_record_s: float = Field(default=604_800.0, ge=1.0, le=2_592_000.0)
    exec_message_bytes_max: int = Field(default=1_048_576, ge=1024, le=67_108_864)  # of a client of a shell
    environment_wait_s: float = Field(default=8.0, ge=0.0, le=600.0)  # that a deployment waits for requirements.txt
    environment_sweep_s: float = Field(default=600.0, ge=1.0, le=86_400.0)  # how often those of no version are removed
    # "pack" keeps room for large shares of GPU memory, "spread" keeps instances apart.
    placement_strategy: Literal["pack", "spread"] = "pack"
    # Of a card, against what instanceType names: cards are bought once, and a newer one runs what an older one does.
    placement_family: Literal["at-least", "exact", "any"] = "at-least"
    # vCPU promised for each there is. 0: not counted, as most functions on a GPU wait for it most of the time.
    placement_cpu_overcommit: float = Field(default=0.0, ge=0.0, le=100.0, allow_inf_nan=False)
    launches_at_once_max: int = Field(default=16, ge=1, le=1000)  # of one function version
    # Whoever may put a provision config has the control plane ask these, and nothing else; parted by commas.
    prometheus_urls: str = "http://127.0.0.1:9090,http://localhost:9090"
    prometheus_access: Path | None = None  # a file: who of them is shown which token or password, and trusted by what
    usage_saved_every_s: float = Field(default=5.0, ge=0.1, le=60.0)  # a kill -9 loses no more than this of it
    usage_hours_kept_s: int = Field(default=1_209_600, ge=3600, le=34_560_000)
    usage_days_kept_s: int = Field(default=34_560_000, ge=86_400, le=315_360_000)
    recorded_kept_s: int = Field(default=21_600, ge=60, le=1_209_600)  # of a busy function 330 kB an hour
    # 0: this is the only control plane. Else another one takes over when the leader was not heard for so long.
    leader_lease_s: float = Field(default=0.0, ge=0.0, le=60.0)
    advertise: str = ""  # unix:PATH or tcp:HOST:PORT at which the others reach this one; where it listens by default
    prices: Path | None = None
    pools: Path | None = None  # pools.yaml: pools of nodes, and how instances are shared out between them
    memory_saved_every_s: float = Field(default=5.0, ge=0.0, le=60.0)  # what the autoscaler remembers, to the store

    @field_validator("kubernetes_settings", "prometheus_access", "prices", "pools", mode="before")
    @classmethod
    def _no_name_is_no_file(cls, given: Any) -> Any:
        """A variable that is set to nothing is one that is not set, and not the folder we are in."""
        return None if given == "" else given

    @model_validator(mode="after")
    def _addresses_can_be_read(self) -> Self:
        host, _, port = self.listen.rpartition(":")
        if self.listen and not (host and port.isdecimal() and 0 < int(port) <= 65_535):
            raise ValueError(f"listen is {self.listen!r}; allowed is HOST:PORT with a port from 1 to 65535")
        if self.advertise and not self.advertise.startswith(("unix:/", "tcp:")):
            raise ValueError(f"advertise is {self.advertise!r}; allowed are unix:/PATH and tcp:HOST:PORT")
        if 0.0 < self.leader_lease_s < 1.0:
            raise ValueError(f"leader_lease_s is {self.leader_lease_s}; allowed are 0 and 1 to 60")
        return self

    @property
    def reached_at(self) -> str:
        """Where other control planes reach this one."""
        return self.advertise or (f"tcp:{self.listen}" if self.listen else f"unix:{self.socket.absolute()}")

    @property
    def prometheus_allowed(self) -> tuple[str, ...]:
        """What `prometheus_urls` lists."""
        return tuple(filter(None, (url.strip() for url in self.prometheus_urls.split(","))))
