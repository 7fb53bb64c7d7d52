"""Which certificate files are taken, and what is said of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.cli.endpoint import Trust, find_trust
from control_plane.cli.failures import BadInput
from control_plane.options import parse
from runtime.gateway.settings import read_settings
from runtime.http.tls import Certificate
from tests.support.certificates import Files

NEEDED = ["--listen", "127.0.0.1:0", "--store", "unix:///s", "--control-plane", "unix:/c"]


def test_files_that_are_not_good_are_named_and_change_nothing(tmp_path: Path) -> None:
    files = Files(tmp_path)
    certificate = Certificate(files.certificate, files.key)
    context = certificate.context
    good = files.key.read_bytes()
    files.renew("encrypted", password=b"x")
    with pytest.raises(ValueError, match="the key is encrypted; a PEM certificate chain"):
        certificate.read()
    files.key.write_bytes(good)
    with pytest.raises(ValueError, match=r"--tls-key '.*key.pem': KEY_VALUES_MISMATCH"):
        certificate.read()
    files.certificate.write_text("none")
    with pytest.raises(ValueError, match=r"certificate.pem'.*: not PEM;"):
        certificate.read()
    files.key.unlink()
    with pytest.raises(ValueError, match=r"key.pem: No such file or directory; PEM files are allowed"):
        certificate.read()
    assert certificate.context is context
    files.renew("second")
    certificate.read()


def test_a_gateway_wants_both_files_or_none() -> None:
    with pytest.raises(ValueError, match="--tls-key is missing: --tls-certificate and --tls-key are allowed together"):
        read_settings([*NEEDED, "--tls-certificate", "c"], {})
    with pytest.raises(ValueError, match="--tls-certificate is missing"):
        read_settings(NEEDED, {"STOKE_TLS_KEY": "k"})


def test_stoke_up_checks_the_files_before_it_starts_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = Files(tmp_path)
    data = ["--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"]
    options = parse([*data, *files.arguments])
    assert (options.tls_certificate, options.tls_key) == (str(files.certificate), str(files.key))
    for arguments, said in (
        (files.arguments[:2], "--tls-key is missing; allowed are"),
        ([*files.arguments[:3], str(tmp_path / "none.pem")], "none.pem: No such file"),
        ([*files.arguments[:3], str(files.certificate)], "a PEM certificate chain and its private key"),
    ):
        with pytest.raises(SystemExit):
            parse([*data, *arguments])
        assert said in capsys.readouterr().err


def test_the_command_line_trusts_the_certificate_that_stoke_up_was_given_or_stoke_ca(tmp_path: Path) -> None:
    assert find_trust(None, tmp_path, {}) == Trust()
    (tmp_path / "stoke.json").write_text('{"endpoint": "https://127.0.0.1:1", "tls_certificate": "/c.pem"}')
    assert find_trust(None, tmp_path, {}) == Trust(Path("/c.pem"), is_the_certificate=True)
    assert find_trust("https://elsewhere", tmp_path, {}) == Trust()
    assert find_trust(None, tmp_path, {"STOKE_ENDPOINT": "https://elsewhere"}) == Trust()
    ca = tmp_path / "ca.pem"
    with pytest.raises(BadInput, match=r"STOKE_CA: .* is not a file"):
        find_trust(None, tmp_path, {"STOKE_CA": str(ca)})
    ca.touch()
    assert find_trust("https://elsewhere", tmp_path, {"STOKE_CA": str(ca)}) == Trust(ca)
