"""Installs the packages; cfg/ and checkpoints/ travel inside resdex_tasks."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["resdex_tasks", "resdex_tasks.*", "runners", "runners.*"]),
        "resdex_tasks.cfg",
        "resdex_tasks.checkpoints",
        "hydra_plugins",  # a namespace: Hydra looks for plugins in it
    ],
    package_dir={"resdex_tasks.cfg": "cfg", "resdex_tasks.checkpoints": "checkpoints"},
    package_data={
        "resdex_tasks.cfg": ["*.yaml", "*/*.yaml", "*/*/*.yaml", "*/*/*/*.yaml"],
        "resdex_tasks.checkpoints": ["*.pth", "*.npz", "*.md", "*.yaml"],
        "resdex_tasks.objects.zoo": ["*.yaml"],
    },
)
