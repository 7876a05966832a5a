"""The browser tests' screenshots, reduced for the documentation: `python tests/screenshots.py`."""
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
FROM, TO = ROOT/"runs"/"screenshots", ROOT/"nbs"/"results"/"screenshots"

if __name__ == "__main__":
    TO.mkdir(parents=True, exist_ok=True)
    for view in ("explore", "live", "playground", "browse"):
        picture = Image.open(FROM/f"{view}.png").convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE); picture.save(TO/f"{view}.png", optimize=True)
        print(f"{view}.png: {(TO/f'{view}.png').stat().st_size/1000:.0f} kB")
