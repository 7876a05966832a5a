"""Installs what settings.ini declares."""
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
ini = ConfigParser(delimiters=["="])
ini.read(ROOT/"settings.ini", encoding="utf-8")
cfg = ini["DEFAULT"]


class BuildWithWalkthrough(build_py):
    "The walkthrough behind report.html travels in the package; its one source stays in nbs/."
    source = ROOT/"nbs"/"walkthrough"/"demo.ipynb"

    @property
    def target(self): return str(Path(self.build_lib)/cfg["lib_path"]/"walkthrough.ipynb")

    def run(self):
        super().run()
        if self.editable_mode: return # `write_report` reads the clone's
        self.copy_file(str(self.source), self.target)

    def get_outputs(self, include_bytecode=True):
        "What was built, for the list of installed files."
        own = [] if self.editable_mode else [self.target]
        return super().get_outputs(include_bytecode) + own


def needs(*names):
    "The requirements of some lists in settings.ini."
    return [requirement for name in names for requirement in cfg[f"{name}_requirements"].split()]


setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    author=cfg["author"],
    license=cfg["license"].upper(),
    python_requires=f">={cfg['min_python']},<={cfg['max_python']}.999",
    packages=[cfg["lib_path"]],
    package_data={cfg["lib_path"]: ["*.json"]}, # settings and families of tasks, which `pool` reads
    install_requires=cfg["requirements"].split(),
    extras_require={
        "hub": needs("hub"),
        "tsne": needs("tsne"),
        "cluster": needs("cluster"),
        "docs": needs("docs"),
        "app": needs("app"),
        "audit": needs("audit"),
        "bench": needs("tsne", "bench"),
        "dev": needs("hub", "dev"),
    },
    entry_points={"console_scripts": cfg["console_scripts"].split()},
    cmdclass={"build_py": BuildWithWalkthrough},
)
