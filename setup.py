"""Installs what settings.ini declares."""
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

ini = ConfigParser(delimiters=["="])
ini.read(Path(__file__).with_name("settings.ini"), encoding="utf-8")
cfg = ini["DEFAULT"]

setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    author=cfg["author"],
    license=cfg["license"].upper(),
    python_requires=f">={cfg['min_python']},<={cfg['max_python']}.999",
    packages=[cfg["lib_path"]],
    install_requires=cfg["requirements"].split(),
    extras_require={"hub": cfg["hub_requirements"].split(), "tsne": cfg["tsne_requirements"].split(), "cluster": cfg["cluster_requirements"].split(), "bench": cfg["tsne_requirements"].split() + cfg["bench_requirements"].split(), "dev": cfg["hub_requirements"].split() + cfg["dev_requirements"].split()},
    entry_points={"console_scripts": cfg["console_scripts"].split()},
)
