"""The packages of the wheel: in a checkout `eval` and `serve` keep their names, installed they are `fas_eval` and `fas_serve`.

Names as short as `eval` and `serve` at the top of site-packages would hide, or be hidden by, a user's own files. The recipes of
`train/configs` travel as the package `fas_core.configs`; the scripts of `train` need a checkout, since accelerate launches files.
"""

from setuptools import find_namespace_packages, setup

INSTALLED = {"eval": "fas_eval", "serve": "fas_serve"}
CONFIGS = "fas_core.configs"


def packages() -> list[str]:
    """Names of all packages, as they are installed; folders of data alone are packages, too."""
    plain = find_namespace_packages(include=["fas_core*", "fas_alm*"])
    renamed = [
        ".".join([INSTALLED[name], *rest])
        for name, *rest in (package.split(".") for package in find_namespace_packages(include=["eval*", "serve*"]))
    ]
    return sorted([*plain, *renamed, CONFIGS, f"{CONFIGS}.accelerate"])


setup(
    packages=packages(),
    package_dir={installed: folder for folder, installed in INSTALLED.items()}
    | {CONFIGS: "train/configs", f"{CONFIGS}.accelerate": "train/configs/accelerate"},
)
