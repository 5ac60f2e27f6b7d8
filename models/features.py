"""Named feature tensors: what an encoder gives, and what tables, gathers and scores take.

A family says which tensors it has (`Column`, per row); everything else here is the same for all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor

from reelvec.models.errors import FeatureError

__all__ = [
    "EMBEDDING",
    "HEARD",
    "Column",
    "Columns",
    "Features",
    "TextFeatures",
    "VideoFeatures",
]

EMBEDDING = "embedding"
"""The column of unit vectors, where a score is their product."""
HEARD = ("audio", "audio_video")
"""Columns of unit vectors of what a model hears; searched like `embedding`, each by itself."""


@dataclass(frozen=True)
class Column:
    """One named tensor of a row: its shape without the row axis, and what it holds."""

    shape: tuple[int, ...]
    """Shape of one row, e.g. (512,) or (32, 512)."""
    kind: Literal["float", "exact", "integer"] = "float"
    """`float` follows the precision asked for; `exact` (sums whose differences count) does not, and
    `integer` (masks, indices) keeps its type."""
    optional: bool = False
    """Of sound: a clip without it has NaN here, and null in tables."""

    @property
    def size(self) -> int:
        """How many numbers a row has."""
        return int(torch.Size(self.shape).numel())


Columns = Mapping[str, Column]


@dataclass(frozen=True)
class Features:
    """Tensors by name with one common first axis, the rows.

    Attributes:
        tensors: name -> Tensor [rows, ...].

    Raises:
        FeatureError: no tensor at all, or first axes of different length.
    """

    tensors: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        lengths = {name: tensor.shape[:1] for name, tensor in self.tensors.items()}
        if not lengths or len(set(lengths.values())) != 1 or torch.Size() in lengths.values():
            shapes = {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}
            raise FeatureError(
                f"feature tensors {shapes} do not share a first axis; give each one row an item"
            )

    def __len__(self) -> int:
        return next(iter(self.tensors.values())).shape[0]

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self.tensors[name]
        except KeyError:
            raise FeatureError(
                f"no feature named {name!r}; there are {', '.join(self.tensors)}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """The rows of all parts, in order (batches, or ranks).

        Raises:
            FeatureError: no part, or parts with different names.
        """
        if not parts:
            raise FeatureError("nothing to concatenate: give at least one part")
        names = list(parts[0].tensors)
        for part in parts:
            if set(part.tensors) != set(names):
                raise FeatureError(
                    f"cannot concatenate features {sorted(names)} and {sorted(part.tensors)}; "
                    "take them from one model"
                )
        return cls({name: torch.cat([part.tensors[name] for part in parts]) for name in names})

    def index(self, rows: Tensor | slice | Sequence[int]) -> Self:
        """The rows chosen by positions, a mask or a slice, in that order; the axis stays."""
        if not isinstance(rows, Tensor | slice):
            rows = torch.as_tensor(list(rows), dtype=torch.int64)
        if isinstance(rows, Tensor):
            rows = rows.to(next(iter(self.tensors.values())).device)
        return type(self)({name: tensor[rows] for name, tensor in self.tensors.items()})

    def to(
        self,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        exact: Collection[str] = (),
    ) -> Self:
        """Moved to `device`; floating tensors cast to `dtype`, integers and `exact` ones not."""

        def moved(name: str, tensor: Tensor) -> Tensor:
            cast = dtype if tensor.is_floating_point() and name not in exact else None
            return tensor.to(device=device, dtype=cast)

        return type(self)({name: moved(name, tensor) for name, tensor in self.tensors.items()})

    def detach(self) -> Self:
        """The same tensors, detached from the autograd graph."""
        return type(self)({name: tensor.detach() for name, tensor in self.tensors.items()})

    def columns(self) -> dict[str, Tensor]:
        """Table columns: name -> contiguous CPU tensor [rows, numbers a row]."""
        return {
            name: tensor.detach()
            .to("cpu")
            .reshape(len(tensor), tensor.shape[1:].numel())
            .contiguous()
            for name, tensor in self.tensors.items()
        }

    @classmethod
    def from_columns(cls, values: Mapping[str, Tensor], *, columns: Columns) -> Self:
        """Back from table columns of [rows, numbers a row] to the shapes in `columns`.

        Raises:
            FeatureError: a column is missing or has another width than the model's.
        """
        missing = sorted(set(columns) - set(values))
        if missing:
            raise FeatureError(
                f"table has no column {', '.join(missing)} (it has {', '.join(sorted(values))}); "
                "embed again with this model"
            )
        tensors = {}
        for name, column in columns.items():
            flat = values[name]
            if flat[:1].numel() != column.size and len(flat):
                raise FeatureError(
                    f"column {name!r} has {flat[:1].numel()} numbers a row, this model's has "
                    f"{column.size} {column.shape}; embed again with this model"
                )
            tensors[name] = flat.reshape(len(flat), *column.shape)
        return cls(tensors)


@dataclass(frozen=True)
class TextFeatures(Features):
    """Features of texts: every tensor is [T, ...]."""


@dataclass(frozen=True)
class VideoFeatures(Features):
    """Features of videos: every tensor is [V, ...]."""
