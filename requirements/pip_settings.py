"""Print, for a shell, which of pip's settings an installation from the lock heeds: where packages come from, no more.

What else is in pip's files or in PIP_* (`user`, `target`, `prefix`, `no-binary`, `constraint`, ...) would install other
things, or elsewhere, than the lock says. Run it with the Python whose pip will install.
"""

import ast
import os
import shlex
import subprocess
import sys

KEPT = (
    "index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "proxy", "cert", "client-cert",
    "keyring-provider", "timeout", "default-timeout", "retries", "cache-dir", "no-cache-dir",
)  # fmt: skip


def settings_in_files() -> dict[str, str]:
    """What pip's files say for `pip install`."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PIP_") or name == "PIP_CONFIG_FILE"
    }
    command = [sys.executable, "-I", "-m", "pip", "config", "list"]
    listed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    settings = dict(line.split("=", 1) for line in listed.splitlines())
    return {
        name: ast.literal_eval(settings[f"{section}.{name}"])
        for section in ("global", "install")
        for name in KEPT
        if f"{section}.{name}" in settings
    }


def main() -> None:
    """Print `unset` of all PIP_*, then `export` of what is kept."""
    found = settings_in_files()
    for name in KEPT:
        variable = "PIP_" + name.upper().replace("-", "_")
        if variable in os.environ:
            found[name] = os.environ[variable]
    for variable in sorted(os.environ):
        if variable.startswith("PIP_"):
            print(f"unset {shlex.quote(variable)}")
    for name, value in found.items():
        print(f"export PIP_{name.upper().replace('-', '_')}={shlex.quote(value)}")
    print(f"export PIP_CONFIG_FILE={os.devnull}")


if __name__ == "__main__":
    main()
