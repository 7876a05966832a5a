"""Whether this Python can run the project: one line and exit code 1 where it cannot. Any Python 3 reads this."""
import sys
from configparser import ConfigParser
from os.path import abspath, dirname, join

cfg = ConfigParser(delimiters=["="])
cfg.read(join(dirname(dirname(abspath(__file__))), "settings.ini"), encoding="utf-8")
oldest, newest = (cfg["DEFAULT"][key] for key in ("min_python", "max_python"))


def version(text): return tuple(int(part) for part in text.split("."))


if not version(oldest) <= sys.version_info[:2] <= version(newest):
    sys.exit("Python {} to {} is needed, and this is {}.{}.{}: run make with PYTHON=/path/to/another python".format(
        oldest, newest, *sys.version_info[:3]))
