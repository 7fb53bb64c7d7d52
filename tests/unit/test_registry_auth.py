"""The credentials of a function's registry: sealed, never shown, kept where what was shown comes back."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from control_plane import registry_auth
from control_plane.backends.kubernetes import pods
from control_plane.backends.kubernetes.pull_secrets import names_in, secret_data, secret_name
from control_plane.backends.kubernetes.settings import KubernetesSettings
from control_plane.errors import InvalidArgument
from control_plane.model import Function
from control_plane.registry.launching import launch_spec
from control_plane.registry_auth import MASK, masked, taken, with_credentials
from runtime.access.sealing import KEY_BYTES, Box
from runtime.node.docker.pulls import auth_header
from runtime.node_contract import LaunchSpec

BOX = Box(bytes(KEY_BYTES))


def function(config: Any = None, image: str = "registry.example/shop/a:1", name: str = "f") -> Function:
    container: dict[str, Any] = {"image": image} | ({} if config is None else {"registryConfig": config})
    return Function.model_validate(
        {"serviceName": "s", "functionName": name, "runtime": "custom-container", "customContainerConfig": container}
    )


def auth(password: str, user: str = "puller", **more: Any) -> dict[str, Any]:
    return {"authConfig": {"userName": user, "password": password}, **more}


def stored(password: str = "let-me-in", **more: Any) -> Function:
    return taken(function(auth(password), **more), None, BOX.seal)


def spec(of: Function, box: Box = BOX) -> LaunchSpec:
    made = launch_spec(of, "LATEST", "c-1", region="r", account_id="a")
    return with_credentials(made, of, box)


def test_a_password_is_sealed_and_opened_for_a_launch_alone() -> None:
    kept = stored()
    assert "let-me-in" not in kept.model_dump_json()
    assert "let-me-in" not in repr(spec(kept))
    assert (spec(kept).registry_user, spec(kept).registry_password) == ("puller", "let-me-in")
    assert (spec(function()).registry_user, spec(function()).registry_password) == ("", "")


def test_a_password_of_another_function_or_another_key_opens_nothing() -> None:
    moved = stored().model_copy(update={"function_name": "g"})
    assert spec(moved).registry_user == ""
    assert spec(stored(), Box(b"x" * KEY_BYTES)).registry_password == ""


def test_what_is_shown_has_no_password_in_it_and_nothing_else_changes() -> None:
    config = auth("let-me-in", certConfig={"insecure": False})
    shown = masked(taken(function(config), None, BOX.seal).model_dump(by_alias=True))
    assert shown["customContainerConfig"]["registryConfig"] == auth(MASK, certConfig={"insecure": False})
    plain = function().model_dump(by_alias=True)
    assert masked(plain) == plain


def test_what_is_shown_keeps_the_password_when_it_comes_back() -> None:
    kept = stored()
    again = taken(function(auth(MASK), image="registry.example/shop/b:2"), kept, BOX.seal)
    assert spec(again).registry_password == "let-me-in"
    assert taken(kept, kept, BOX.seal) is kept


@pytest.mark.parametrize(
    ("new", "before"),
    [
        (function(auth(MASK)), None),
        (function(auth(MASK)), function()),
        (function(auth(MASK, user="other")), stored()),
        (function(auth(MASK), image="elsewhere.example/shop/a:1"), stored()),
    ],
)
def test_a_password_is_kept_for_the_same_user_of_the_same_registry_alone(
    new: Function, before: Function | None
) -> None:
    with pytest.raises(InvalidArgument, match=r"registryConfig\.authConfig\.password is '\*{8}'"):
        taken(new, before, BOX.seal)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ([1], r"registryConfig is \[1\]: must be an object"),
        ({"authConfig": "x"}, "authConfig must be an object"),
        ({"authConfig": {"userName": "u"}}, r"authConfig\.password must be a text of 1 to 4096"),
        ({"authConfig": {"password": "secret-word"}}, r"authConfig\.userName must be a text"),
        (auth("p", user="a:b"), r"userName is 'a:b': must have no colon"),
    ],
)
def test_credentials_that_cannot_be_are_refused_without_telling_the_password(config: Any, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said) as refused:
        taken(function(config), None, BOX.seal)
    assert "secret-word" not in str(refused.value)


@pytest.mark.parametrize("config", [None, {}, {"authConfig": {}}, {"certConfig": {"insecure": True}}])
def test_a_config_without_credentials_is_kept_as_it_came(config: Any) -> None:
    assert taken(function(config), None, BOX.seal) == function(config)


def test_another_password_makes_no_other_revision_and_another_user_does() -> None:
    assert stored("one").revision == stored("two").revision
    assert stored().revision != taken(function(auth("one", user="other")), None, BOX.seal).revision


def test_an_engine_gets_them_as_its_header() -> None:
    header = json.loads(base64.urlsafe_b64decode(auth_header("registry.example/a:1", "puller", "let-me-in")))
    assert header == {"username": "puller", "password": "let-me-in", "serveraddress": "registry.example"}


def test_a_cluster_gets_them_as_one_secret_of_a_version_and_nowhere_else() -> None:
    asked = spec(stored())
    name = secret_name(asked, "shop")
    assert secret_name(replace(asked, instance_id="c-2", registry_password="new"), "shop") == name
    others = (replace(asked, version="2"), replace(asked, function="g"), replace(asked, registry_user="other"))
    assert len({name, *(secret_name(other, "shop") for other in others), secret_name(asked, "b")}) == 5
    assert secret_name(replace(asked, registry_user="", registry_password=""), "shop") == ""
    said = json.loads(base64.b64decode(secret_data(asked)[".dockerconfigjson"]))
    entry = {"username": "puller", "password": "let-me-in", "auth": base64.b64encode(b"puller:let-me-in").decode()}
    assert said == {"auths": {"registry.example": entry}}
    settings = KubernetesSettings(image_pull_secrets=("operators",))
    pod = pods.pod_of(asked, settings, epoch=1, pull_secret=name)
    assert pod["spec"]["imagePullSecrets"] == [{"name": name}, {"name": "operators"}]
    assert names_in(pod) == {name}
    assert "let-me-in" not in json.dumps(pod)


def test_a_lost_key_is_logged_without_the_password(caplog: pytest.LogCaptureFixture) -> None:
    spec(stored(), Box(b"x" * KEY_BYTES))
    assert "registry.password_lost function=s/f" in caplog.text
    assert registry_auth.MASK not in caplog.text
