"""The corpus: all kinds by name, and the folder they are made in.

python -m tests.frame_truth.corpus FOLDER
"""

import sys
from pathlib import Path

from tests.frame_truth import broken, containers, pictures, times

GROUPS = {
    "containers and codecs": containers.KINDS,
    "times": times.KINDS,
    "pictures and streams": pictures.KINDS,
    "damaged, or no video": broken.KINDS,
}
KINDS = {name: kind for kinds in GROUPS.values() for name, kind in kinds.items()}


def stem(name):
    """The name of a kind's file, less its suffix."""
    return "".join(c if c.isalnum() else "_" for c in name).strip("_")


def file_name(name):
    """The name of a kind's file."""
    return stem(name) + KINDS[name].suffix


def make(folder, names=tuple(KINDS)):
    """kind -> path of its file in `folder`, made where it is not there yet."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    files = {}
    for name in names:
        path = Path(folder).absolute() / file_name(name)
        if not path.exists():
            KINDS[name].make(path)
        files[name] = path
    return files


if __name__ == "__main__":
    print(f"{len(make(sys.argv[1]))} files in {sys.argv[1]}")
