"""What pyproject.toml cannot say: a wheel takes ``config/`` along, for use outside a checkout."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfiguration(build_py):
    """Builds the package, with what ``config/`` holds in ``d2r/config/shipped``."""

    def run(self) -> None:
        """Copy modules, then the configuration; an editable installation reads that of its checkout."""
        super().run()
        if not self.editable_mode:
            shipped = Path(self.build_lib) / "d2r" / "config" / "shipped"
            shutil.rmtree(shipped, ignore_errors=True)
            shutil.copytree("config", shipped)


setup(cmdclass={"build_py": BuildWithConfiguration})
