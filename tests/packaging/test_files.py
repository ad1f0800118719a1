"""systemd units, Kubernetes manifests, the install script and the Debian package's scripts, judged by the programs that read them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from edge.cli import runfile
from edge.version import VERSION
from tests.harness import ROOT

UNITS = ("edged.service", "edged@.service")
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_the_sandbox_is_tight(unit: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(ROOT / "systemd" / unit)], capture_output=True, text=True, check=True
    )

    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert exposure is not None and float(exposure[1]) <= 2.0, done.stdout


@needs_systemd
def test_the_units_are_what_systemd_understands(tmp_path: Path) -> None:
    for unit in (*UNITS, "edged.socket"):
        text = (ROOT / "systemd" / unit).read_text().replace("/usr/bin/edged", "/bin/true")
        (tmp_path / unit).write_text(text)

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *(str(tmp_path / unit) for unit in (*UNITS, "edged.socket"))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    ours = [line for line in done.stderr.splitlines() if "edged" in line]
    assert not ours


def test_the_service_is_watched_restarted_and_given_its_folders() -> None:
    text = (ROOT / "systemd/edged.service").read_text()

    for line in (
        "ConfigurationDirectoryMode=0750",
        "Type=notify",
        "WatchdogSec=60",
        "Restart=always",
        "KillMode=mixed",
        "StateDirectory=edged",
        "RuntimeDirectory=edged",
    ):
        assert f"\n{line}\n" in text


@pytest.mark.parametrize("name", ["sidecar.yaml", "daemonset.yaml"])
def test_manifests_are_valid_and_keep_the_container_tight(name: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    documents = list(yaml.safe_load_all((ROOT / "packaging/kubernetes" / name).read_text()))

    for document in documents:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    (pod,) = [document["spec"]["template"]["spec"] for document in documents if "template" in document.get("spec", {})]
    (container,) = [each for each in pod["containers"] if each["name"] == "edged"]
    assert container["securityContext"]["readOnlyRootFilesystem"] and pod["securityContext"]["runAsNonRoot"]
    assert {"livenessProbe", "readinessProbe", "resources"} <= set(container)


def test_the_version_stands_in_one_place() -> None:
    for path in (ROOT / "packaging/kubernetes").iterdir():
        assert all(tag == VERSION for tag in re.findall(r"registry.example/edged:(\S+)", path.read_text())), path


def test_the_example_of_a_device_is_a_run_file_that_is_read(tmp_path: Path) -> None:
    shutil.copy(ROOT / "systemd/edged.yaml", tmp_path)
    (tmp_path / "resources").mkdir()

    file = runfile.load(tmp_path / "edged.yaml")

    assert [app.settings.app_id for app in file.apps] == ["greenhouse", "irrigation"]


@pytest.mark.parametrize(
    "script",
    sorted(
        str(path.relative_to(ROOT / "packaging"))
        for path in (ROOT / "packaging").rglob("*")
        if path.is_file() and (path.read_bytes().startswith(b"#!/bin/sh") or (path.parent.name == "boot" and not path.suffix))
    ),
)
def test_scripts_are_what_a_shell_understands(script: str) -> None:
    subprocess.run(["sh", "-n", str(ROOT / "packaging" / script)], check=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [("", "is not for this machine"), ("x", "is not what was released"), (None, "no checksum file")],
)
def test_the_install_script_refuses_what_was_not_released(tmp_path: Path, change: str | None, said: str) -> None:
    if os.getuid() != 0:
        pytest.skip("the script wants root first")
    download = tmp_path / "edged-0.0.1-otherarch"
    download.write_text("#!/bin/sh\n")
    if change is not None:
        (tmp_path / "edged-0.0.1-otherarch.sha256").write_text(f"{hashlib.sha256(download.read_bytes()).hexdigest()}  {download.name}\n")
        download.write_text(f"#!/bin/sh\n{change}")

    done = subprocess.run(["sh", str(ROOT / "packaging/install.sh"), str(download)], capture_output=True, text=True, check=False)

    assert done.returncode == 1 and said in done.stderr
