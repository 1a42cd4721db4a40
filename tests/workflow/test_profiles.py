"""The profiles: where Snakemake runs, checked as far as it can be without a cluster."""

import importlib.util
import shutil
import threading
from pathlib import Path

import pytest
import yaml

from .conftest import RUNS, SOURCE, Project
from .kubernetes_api import Server

PROFILES = sorted(path.parent.name for path in SOURCE.glob("profiles/*/profile.yaml"))


def needs(plugin: str) -> pytest.MarkDecorator:
    name = f"snakemake_{plugin}"
    return pytest.mark.skipif(
        importlib.util.find_spec(name) is None, reason=f"needs {name.replace('_', '-')}"
    )


def test_shared_settings_stand_in_one_profile() -> None:
    """profiles/default is read beside the others and wins, so a key in two of them would be a trap."""
    keys = {
        name: set(yaml.safe_load((SOURCE / "profiles" / name / "profile.yaml").read_text()))
        for name in PROFILES
    }
    assert PROFILES == ["cohorts", "default", "kubernetes", "slurm"]
    assert not keys["default"] & (keys["cohorts"] | keys["slurm"] | keys["kubernetes"])


def test_one_pod_keeps_its_results_and_has_time_to_save_a_checkpoint() -> None:
    claim, job = yaml.safe_load_all((SOURCE / "profiles/kubernetes/one-pod.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    volumes = {v["name"]: v for v in pod["volumes"]}
    mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
    results = volumes[mounts["/d2r/results"]]
    assert results["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert "/tmp" in mounts, "the root file system is read-only"
    assert pod["terminationGracePeriodSeconds"] >= 120
    assert pod["restartPolicy"] == "OnFailure", "the same command goes on"
    cores = container["args"][container["args"].index("--cores") + 1]
    assert container["resources"]["requests"]["cpu"] == cores


@pytest.mark.slow
@needs("executor_plugin_kubernetes")
@needs("storage_plugin_fs")
@pytest.mark.skipif(shutil.which("rsync") is None, reason="the fs storage plugin copies with rsync")
def test_kubernetes_job_asks_for_what_a_run_needs(project: Project, tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = tmp_path / "kubeconfig"
        config.write_text(yaml.safe_dump(server.kubeconfig()))
        result = project.call(
            *project.snakemake_program, "--profile", "profiles/kubernetes", "--retries", "0", "runs",
            "--default-storage-provider", "fs", "--default-storage-prefix", str(bucket),
            KUBECONFIG=str(config),
        )  # fmt: skip
        server.shutdown()
    assert result.returncode != 0, "the server lets every job fail"
    assert len(server.jobs) == len(RUNS), result.stdout
    for job in server.jobs:
        assert job["spec"]["backoffLimit"] == 0, "Snakemake retries, not Kubernetes"
        pod = job["spec"]["template"]["spec"]
        assert pod["restartPolicy"] == "Never"
        (container,) = pod["containers"]
        assert container["image"] == "registry.example.org/d2r:latest"
        assert "securityContext" not in container, "no privileges"
        assert container["resources"]["requests"]["cpu"] == "950m", (
            "a core, less what a node keeps for itself"
        )
        assert int(container["resources"]["requests"]["memory"].removesuffix("M")) > 500
        command = container["args"][1]
        assert "--target-jobs 'train:scale=smoke" in command
        assert "--default-storage-provider" in command
