"""Qwen3-VL-Reranker: reads a caption and a clip together, and says how well they fit.

Source: specs/clip-native-encoders.md 5. It answers "yes" or "no"; a score is the probability of
"yes" among the two. A clip is seen once for each caption, so it is for the best of a search.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from reelvec.models.errors import WeightsError
from reelvec.models.frozen.clips import Clip
from reelvec.models.frozen.input import FrameCount, OwnInput
from reelvec.models.frozen.loading import check_package, load
from reelvec.models.frozen.packed_files import json_file, unpacked
from reelvec.models.frozen.qwen3_vl import OWN_FRAMES, last_states, without_head
from reelvec.models.frozen.qwen3_vl_input import prompt_of, shown

__all__ = ["Qwen3VLReranker", "build_reranker"]

INSTRUCTION = "Given a search query, retrieve relevant candidates that answer the query."
_TASK = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct"
    ' provided. Note that the answer can only be "yes" or "no".'
)
_HEADS = ("encoder.lm_head.weight", "encoder.model.language_model.embed_tokens.weight")
"""Where the rows of words are: the head, or where it is tied the words' own vectors."""


class Qwen3VLReranker(nn.Module):
    """Scores of pairs; `transformers` computes them.

    Args:
        state: the checkpoint's packed files, and the head's rows.
        instruction: what is looked for, in words.

    Raises:
        OptionsError: `transformers` is missing, or too old.
        WeightsError: files it cannot be built from, or of another model.
    """

    difference: Tensor

    def __init__(self, state: Mapping[str, Tensor], *, instruction: str = INSTRUCTION) -> None:
        super().__init__()
        check_package("qwen3_vl", version="5.0")
        self.encoder, self._tokenizer = load(_checked(unpacked(state["files"])))
        self._instruction = instruction
        self.register_buffer("difference", _difference(state, self._tokenizer))
        self.requires_grad_(False)

    @property
    def own_input(self) -> OwnInput:
        """The frames it wants."""
        return OWN_FRAMES

    def score(self, text: str, clip: Clip) -> float:
        """The probability of "yes", of a caption and a clip.

        Raises:
            InputError: more frames or tokens than the model takes, or a picture that is a line.
        """
        count: FrameCount | None = OWN_FRAMES.frame_count
        if count is not None:
            count.check(len(clip.frames))
        seen = shown(clip)
        content = f"<Instruct>: {self._instruction}<Query>:{text}\n<Document>:{seen.blocks}"
        ids = self._tokenizer(prompt_of(_TASK, content))["input_ids"]
        last = last_states(self.encoder, [ids], clips=[seen])
        return float(torch.sigmoid(last[0].float() @ self.difference))


def build_reranker(state: Mapping[str, Tensor]) -> Qwen3VLReranker:
    """The reranker of a checkpoint's tensors and packed files, with its weights.

    Raises:
        OptionsError: `transformers` is missing, or too old.
        WeightsError: a checkpoint of another model, or tensors that do not fit it.
    """
    model = Qwen3VLReranker(state).eval()
    tensors = {key: value for key, value in without_head(state).items() if key != "files"}
    try:
        model.load_state_dict(tensors | {"difference": model.difference}, strict=True)
    except RuntimeError as error:  # names each tensor, of hundreds
        raise WeightsError(f"the tensors are not its configuration's: {error!s:.200}") from None
    return model


def _checked(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """The files, where they are of the reranker as far as files say.

    Raises:
        WeightsError: of another type, or of the embedding model.
    """
    config = json_file(files, "config.json", remedy="take the checkpoint's own")
    if (kind := config.get("model_type")) != "qwen3_vl":
        raise WeightsError(
            f"a checkpoint of model_type {kind!r:.60} is no reranker that is known here: there is"
            " Qwen3-VL-Reranker, of type 'qwen3_vl'"
        )
    if "modules.json" in files:
        raise WeightsError(
            "this folder has modules.json: it is the embedding model, which makes tables (`reelvec"
            " embed --weights`); give the folder of Qwen3-VL-Reranker"
        )
    return files


def _difference(state: Mapping[str, Tensor], tokenizer: Any) -> Tensor:
    """The head's row of "yes" less that of "no", float32 [D]: its product is the log of the odds.

    Raises:
        WeightsError: no such rows, or no such words.
    """
    vocabulary = tokenizer.get_vocab()
    if missing := [word for word in ("yes", "no") if word not in vocabulary]:
        raise WeightsError(
            f"the checkpoint's tokenizer has no word {' and no '.join(missing)}, between which a"
            " reranker decides; take the checkpoint's own tokenizer files"
        )
    rows = next((state[name] for name in _HEADS if name in state), None)
    if rows is None:
        raise WeightsError(
            f"the checkpoint has neither {' nor '.join(_HEADS)}, whose rows are its answers; it is"
            " not a whole Qwen3-VL-Reranker"
        )
    yes, no = (rows[vocabulary[word]].float() for word in ("yes", "no"))
    return yes - no
