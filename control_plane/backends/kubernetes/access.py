"""Where the API server is and who asks it: the current context of a kubeconfig, or a Pod's own service account."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from control_plane.errors import InvalidArgument

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_READ_EVERY_S: Final = 60.0  # the kubelet renews a service account's token long before it expires


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach one API server. What is secret in it is never shown."""

    server: str  # https://HOST:PORT
    namespace: str = "default"
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    ca: str = field(default="", repr=False)  # PEM; "" = those of the system
    certificate: str = field(default="", repr=False)  # PEM, with its key: who we are
    key: str = field(default="", repr=False)
    skips_verification: bool = False

    def read_token(self) -> str:
        """The token as it is now. Raises OSError."""
        return self.token_file.read_text().strip() if self.token_file is not None else self.token

    def tls(self) -> ssl.SSLContext:
        """Raises InvalidArgument for a certificate or key that cannot be read."""
        try:
            context = ssl.create_default_context(cadata=self.ca or None)
            if self.skips_verification:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.certificate:
                self._load_certificate(context)
        except ssl.SSLError as error:
            raise InvalidArgument(f"the certificates for {self.server} cannot be read: {error}") from error
        return context

    def _load_certificate(self, context: ssl.SSLContext) -> None:
        """ssl takes them from a file only; nobody else may read it, and it is gone at once."""
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # made with mode 0600
            file.write(f"{self.certificate}\n{self.key}\n")
            file.flush()
            context.load_cert_chain(file.name)


def find_access(kubeconfig: str, environment: Mapping[str, str], account: Path = SERVICE_ACCOUNT) -> Access:
    """By `kubeconfig`, else as a Pod's service account where there is one, else by KUBECONFIG and ~/.kube/config.

    Raises InvalidArgument: none of them is there, or something in it cannot be used; it is named.
    """
    if kubeconfig:
        return from_kubeconfig(Path(kubeconfig).expanduser())
    if environment.get("KUBERNETES_SERVICE_HOST") and (account / "token").exists():
        return from_service_account(environment, account)
    path = Path(environment.get("KUBECONFIG", "").split(os.pathsep)[0] or "~/.kube/config").expanduser()
    if path.exists():
        return from_kubeconfig(path)
    raise InvalidArgument(
        f"no Kubernetes cluster is known: --kubeconfig is not given, {path} is not there, and this is no Pod with a "
        "service account"
    )


def from_service_account(environment: Mapping[str, str], account: Path) -> Access:
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment.get("KUBERNETES_SERVICE_PORT", "443")
    name = f"[{host}]" if ":" in host else host
    namespace = account / "namespace"
    return Access(
        server=f"https://{name}:{port}",
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
        token_file=account / "token",
        ca=(account / "ca.crt").read_text(),
    )


def from_kubeconfig(path: Path) -> Access:
    """Raises InvalidArgument, naming the file and the entry."""
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise InvalidArgument(f"the kubeconfig {path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise InvalidArgument(f"the kubeconfig {path} has no entries")
    current = str(config.get("current-context") or "")
    context = _named(path, config, "contexts", "context", current)
    cluster = _named(path, config, "clusters", "cluster", str(context.get("cluster") or ""))
    user = _named(path, config, "users", "user", str(context.get("user") or ""))
    for key in ("exec", "auth-provider", "username"):
        if key in user:
            raise InvalidArgument(
                f"the kubeconfig {path} has '{key}' for its user, which is not supported; allowed are a client "
                "certificate, token and tokenFile"
            )
    if not str(cluster.get("server") or "").startswith(("https://", "http://")):
        raise InvalidArgument(f"the kubeconfig {path} has the server {cluster.get('server')!r}; allowed is https://…")
    token_file = user.get("tokenFile")
    return Access(
        server=str(cluster["server"]).rstrip("/"),
        namespace=str(context.get("namespace") or "default"),
        token=str(user.get("token") or ""),
        token_file=path.parent / str(token_file) if token_file else None,
        ca=_data(path, cluster, "certificate-authority"),
        certificate=_data(path, user, "client-certificate"),
        key=_data(path, user, "client-key"),
        skips_verification=bool(cluster.get("insecure-skip-tls-verify")),
    )


def _named(path: Path, config: Mapping[str, Any], many: str, one: str, name: str) -> dict[str, Any]:
    for entry in config.get(many) or ():
        if isinstance(entry, dict) and entry.get("name") == name:
            return dict(entry.get(one) or {})
    raise InvalidArgument(f"the kubeconfig {path} has no {one} named '{name}' in {many}")


def _data(path: Path, entry: Mapping[str, Any], name: str) -> str:
    """What an entry holds, in base64 under `NAME-data`, or names as a file beside the kubeconfig."""
    try:
        if given := entry.get(f"{name}-data"):
            return base64.b64decode(str(given), validate=True).decode("ascii")
        return (path.parent / str(entry[name])).read_text() if entry.get(name) else ""
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"the kubeconfig {path} has a {name} that cannot be read: {error}") from error
