"""The browser tests' screenshots, reduced for the documentation: `python tests/screenshots.py`."""
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
FROM, TO = ROOT/"runs"/"screenshots", ROOT/"nbs"/"results"/"screenshots"
VIEWS = ("explore", "live", "playground", "advise", "browse")


def reduce(view):
    "The picture of a view in 256 colours; returns its file."
    picture = Image.open(FROM/f"{view}.png").convert("RGB")
    file = TO/f"{view}.png"
    picture.quantize(256, Image.Quantize.MAXCOVERAGE).save(file, optimize=True)
    return file


if __name__ == "__main__":
    TO.mkdir(parents=True, exist_ok=True)
    for view in VIEWS:
        file = reduce(view)
        print(f"{file.name}: {file.stat().st_size/1000:.0f} kB")
