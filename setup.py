"""Installs the packages; cfg/ and checkpoints/ travel inside resdex_tasks."""

from setuptools import setup

setup(
    packages=[
        "resdex_tasks",
        "resdex_tasks.sims",
        "resdex_tasks.networks",
        "resdex_tasks.objects",
        "resdex_tasks.objects.zoo",
        "resdex_tasks.cfg",
        "resdex_tasks.checkpoints",
        "runners",
    ],
    package_dir={
        "resdex_tasks": "resdex_tasks",
        "runners": "runners",
        "resdex_tasks.cfg": "cfg",
        "resdex_tasks.checkpoints": "checkpoints",
    },
    package_data={
        "resdex_tasks.cfg": ["*.yaml", "*/*.yaml"],
        "resdex_tasks.checkpoints": ["*.pth", "*.npz", "*.md", "*.yaml"],
        "resdex_tasks.objects.zoo": ["*.yaml"],
    },
)
