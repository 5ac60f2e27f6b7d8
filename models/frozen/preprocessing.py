"""What a checkpoint's image processor does to a picture: its form, mean and standard deviation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reelvec.configs.decoding import FrameForm
from reelvec.models.clip.architecture import MAX_LAYERS
from reelvec.models.errors import WeightsError
from reelvec.models.frozen.packed_files import json_file

__all__ = [
    "MAX_NUMBER",
    "Preprocessing",
    "check_numbers",
    "images_of",
    "number_of",
    "preprocessing_of",
    "values_of",
]

MAX_NUMBER = 1_000_000
"""In a tower's configuration; the largest there is, is a vocabulary."""
_REMEDY = "save model, tokenizer and image processor into one folder with save_pretrained"
_INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, as processors' files write them."""


@dataclass(frozen=True)
class Preprocessing:
    """From a picture to the numbers a tower takes."""

    form: FrameForm
    mean: tuple[float, ...]
    std: tuple[float, ...]


def preprocessing_of(files: Mapping[str, bytes]) -> Preprocessing:
    """Of a dual encoder's unpacked small files.

    SigLIP's processors make the whole picture a square with Pillow, CLIP's crop unless they say
    otherwise.

    Raises:
        WeightsError: files that are missing, or do not say enough.
    """
    config, images = json_file(files, "config.json", remedy=_REMEDY), images_of(files)
    mean, std = values_of(images)
    kind = config.get("model_type")
    size = number_of(config, "vision_config", "image_size", default=224)
    form: dict[str, Any] = {"size": size}
    form["interpolation"] = _INTERPOLATIONS.get(_plain(images.get("resample")), "bicubic")
    if kind == "siglip" or not _keeps_proportions(images):
        form |= {"fit": "squash", "resize": "pillow"}
    return Preprocessing(FrameForm(**form), mean, std)


def number_of(config: Mapping[str, Any], tower: str, key: str, *, default: int) -> int:
    """A number of a tower's configuration; files leave out what is the default.

    Raises:
        WeightsError: it is no number that can be.
    """
    number = config.get(tower, {}).get(key, default)
    if type(number) is not int or not 1 <= number <= MAX_NUMBER:
        raise WeightsError(
            f"config.json gives {tower}.{key} as ({number!s:.40}); it must be a whole number from 1"
            f" to {MAX_NUMBER:,}"
        )
    return number


def check_numbers(config: Mapping[str, Any]) -> None:
    """Refuse a configuration whose towers cannot be.

    Raises:
        WeightsError: names the number.
    """
    for tower in ("text_config", "vision_config"):
        section = config.get(tower, {})
        if not isinstance(section, Mapping):
            raise WeightsError(f"config.json gives no object as {tower}; take the checkpoint's own")
        for key, value in section.items():
            most = MAX_LAYERS if key == "num_hidden_layers" else MAX_NUMBER
            if isinstance(value, int) and abs(value) > most:
                raise WeightsError(
                    f"config.json gives {tower}.{key} as ({value!s:.40}); at most {most:,}"
                )


def values_of(images: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of an image processor's settings.

    Raises:
        WeightsError: it does not say them.
    """
    try:
        mean, std = (tuple(map(float, images[key])) for key in ("image_mean", "image_std"))
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"the checkpoint's image processor does not say {error}") from None
    return mean, std


def images_of(files: Mapping[str, bytes]) -> Mapping[str, Any]:
    """The image processor's settings; newer files hold them beside the tokenizer's."""
    name = "preprocessor_config.json"
    if name in files or "processor_config.json" not in files:
        return json_file(files, name, remedy=_REMEDY)
    images = json_file(files, "processor_config.json", remedy=_REMEDY).get("image_processor")
    return images if isinstance(images, Mapping) else {}


def _keeps_proportions(images: Mapping[str, Any]) -> bool:
    """Whether a processor of CLIP's resizes the shorter side, and not both."""
    size = images.get("size")
    return not (isinstance(size, Mapping) and {"height", "width"} <= set(size))


def _plain(resample: object) -> int:
    return resample if type(resample) is int else 3
