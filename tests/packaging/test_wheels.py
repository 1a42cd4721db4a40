"""A folder of wheels: which packages it is to hold, and what is said of one that lacks a wheel."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WHEELS = ROOT / "requirements/wheels.py"
COMMANDS_OF_TRAINING = (
    "d2r.cli.train, d2r.training.train, d2r.verify.golden, d2r.bench.learner, d2r.bench.training"
)
LOCK = """\
# This file was written for a test
alpha==1.0 \\
    --hash=sha256:{0}
    # via d2r (pyproject.toml)
beta==2.0 ; python_full_version < '3' \\
    --hash=sha256:{0}
    # via alpha
gymnasium==3.0 \\
    --hash=sha256:{0}
    # via d2r (pyproject.toml)
numpy==4.0 \\
    --hash=sha256:{0}
    # via
    #   d2r (pyproject.toml)
    #   gymnasium
under-gymnasium==5.0 \\
    --hash=sha256:{0}
    # via
    #   alpha
    #   gymnasium
under-numpy==6.0 \\
    --hash=sha256:{0}
    # via numpy
""".format("0" * 64)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "some.lock"
    path.write_text(LOCK)
    return path


def wheels(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", WHEELS, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


def names(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return re.findall(r"^([a-z0-9-]+)==", done.stdout, re.MULTILINE)


def put(folder: Path, *names: str, content: str = "x") -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}-py3-none-any.whl").write_text(content)


ALL = ("alpha-1.0", "gymnasium-3.0", "numpy-4.0", "under_gymnasium-5.0", "under_numpy-6.0")


def test_everything_that_this_python_takes_is_chosen(lock: Path) -> None:
    assert names(wheels("pins", lock)) == ["alpha", "gymnasium", "numpy", "under-gymnasium", "under-numpy"]


def test_for_training_what_is_there_with_pytorch_is_left_out(lock: Path) -> None:
    assert names(wheels("pins", lock, "--training")) == ["gymnasium", "under-gymnasium"]


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        (1, "holds no wheel of gymnasium 3.0 for Python {version};"),
        (2, "holds no wheel of gymnasium 3.0 for Python {version}, and 1 more;"),
    ],
)
def test_a_folder_that_lacks_a_wheel_is_told_in_one_line(
    lacking: int, said: str, lock: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "wheels"
    put(folder, ALL[0], *ALL[1 + lacking :], "gymnasium-2.9")
    (folder / "gymnasium-3.0-cp27-cp27m-win32.whl").write_text("of another Python")
    done = wheels("found", lock, folder)
    assert (done.returncode, done.stdout) == (2, "")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert done.stderr.count("\n") == 1
    assert f"{folder}: {said.format(version=version)}" in done.stderr


def test_a_folder_that_is_not_there_lacks_the_first(lock: Path, tmp_path: Path) -> None:
    done = wheels("found", lock, tmp_path / "none")
    assert done.returncode == 2
    assert "no wheel of alpha 1.0" in done.stderr


def test_what_was_built_is_installed_by_its_own_hash_and_all_else_by_that_of_the_lock(
    lock: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "wheels"
    put(folder, *ALL)
    built = wheels("built", lock, folder, "--training")
    assert names(built) == ["gymnasium", "under-gymnasium"], "no content has the hash of the lock"
    (folder / "built.lock").write_text(built.stdout.splitlines()[0])
    found = wheels("found", lock, folder)
    assert names(found) == names(wheels("pins", lock))
    hashes = re.findall(r"^([a-z-]+)==.*?sha256:(\w+)", found.stdout, re.MULTILINE | re.DOTALL)
    assert [name for name, digest in hashes if digest != "0" * 64] == ["gymnasium"]
    assert names(wheels("unbuilt", lock, folder)) == ["alpha", "numpy", "under-gymnasium", "under-numpy"]


def test_pictures_are_taken_out_of_a_wheel_and_of_its_list(lock: Path, tmp_path: Path) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    record = "m/a.py,sha256=x,1\nm/b.png,sha256=y,1\nm.dist-info/RECORD,,\n"
    with zipfile.ZipFile(folder / "metaworld-3.1.1-py3-none-any.whl", "w") as wheel:
        for name, content in (("m/a.py", "1"), ("m/b.png", "2"), ("m.dist-info/RECORD", record)):
            wheel.writestr(name, content)
    assert wheels("lighten", lock, folder).returncode == 0
    (light,) = folder.iterdir()
    with zipfile.ZipFile(light) as wheel:
        assert wheel.namelist() == ["m/a.py", "m.dist-info/RECORD"]
        assert wheel.read("m.dist-info/RECORD").decode() == "m/a.py,sha256=x,1\nm.dist-info/RECORD,,\n"


@pytest.mark.parametrize("lock", ["requirements-cpu.lock", "requirements-cuda.lock"])
def test_training_finds_all_that_its_code_imports(lock: str) -> None:
    """Whatever d2r's own modules name at any depth is chosen, or is there with PyTorch."""
    script = (
        f"import sys, {COMMANDS_OF_TRAINING}\n"
        "for module in list(sys.modules.values()):\n"
        "    if module.__name__.startswith('d2r') and getattr(module, '__file__', None):\n"
        "        print(module.__file__)\n"
    )
    files = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    imported = set[str]()
    for file in files.stdout.split():
        for node in ast.walk(ast.parse(Path(file).read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition(".")[0])
    packages = importlib.metadata.packages_distributions()
    of_others = {package for name in imported for package in packages.get(name, ())} - {"d2r"}
    needed = {package.lower().replace("_", "-") for package in of_others}
    assert {"mujoco", "torch"} <= needed
    chosen = set(names(wheels("pins", ROOT / lock, "--training")))
    assert needed - chosen == {"numpy", "scipy", "torch"} & needed


def test_install_says_what_a_folder_lacks(tmp_path: Path) -> None:
    """The script of `make .venv`, for the environment that runs the tests, into which nothing is installed."""
    done = subprocess.run(
        [ROOT / "requirements/install.sh", sys.prefix, "cpu"],
        env={"PATH": "/usr/bin:/bin", "WHEELS": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{tmp_path}: holds no wheel of" in done.stderr
