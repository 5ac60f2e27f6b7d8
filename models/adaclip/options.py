"""AdaCLIP's options, and reading them from its own configuration or from a checkpoint's shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from reelvec.models.adaclip.mobilenet import NETWORKS
from reelvec.models.errors import OptionsError
from reelvec.models.family import FamilyOptions, OriginalSettings
from reelvec.models.temporal import MaskLayout

__all__ = ["AdaClipOptions", "read_config", "read_shapes"]


class AdaClipOptions(FamilyOptions):
    """Policy, header and aggregation (specs/xclip-adaclip.md B1)."""

    policy: Literal["none", "raw", "clip", "mobilenet_v2", "mobilenet_v3_large"] = "none"
    """What chooses frames: nothing, or a network over pixels, CLIP features or MobileNet's."""
    policy_view: Literal["stored", "centre"] = "stored"
    """What a MobileNet sees: the stored frame, or its middle 7/8, as the original crops it."""
    top_k: int = Field(default=8, ge=1)
    """Frames kept by the policy; at most max_frames."""
    rnn: Literal["none", "lstm", "bilstm", "transformer"] = "transformer"
    """How the policy lets frames see each other."""
    mlp_type: Literal["mlp", "fc"] = "mlp"
    """The policy's last layers: two, or one."""
    hidden_dim: int = Field(default=512, ge=1)
    """Width of the policy's rnn."""
    mlp_hidden_dim: int = Field(default=1024, ge=1)
    """Width between the policy's last two layers."""
    rescale_size: int = Field(default=56, ge=1)
    """Height and width of the raw policy's grey frames, pixels."""
    sim_header: Literal["meanP", "seqTransf", "transformer"] = "meanP"
    """What the kept frames go through before they are weighed."""
    frame_agg: Literal["none", "mlp", "transformer", "qscore"] = "none"
    """How frames are weighed: equally, by themselves, or by each query (qscore)."""
    frame_agg_temp: float = Field(default=1.0, gt=0)
    """Divides the logits of frame weights."""
    word_agg: Literal["none", "mlp", "transformer"] = "none"
    """Weighs words into the text vector; frame_agg goes before it."""
    word_agg_temp: float = Field(default=1.0, gt=0)
    """Divides the logits of word weights."""
    reuse_scores: bool = False
    """Multiply kept frames by the softmax of their policy scores."""
    warmup_epochs: int = Field(default=0, ge=0)
    """Epochs over which the number of kept frames falls to top_k; 0: none."""
    temperature: float = Field(default=5.0, gt=0)
    """Of the policy's relaxed choice in the first epoch of training; high is soft."""
    temperature_decay: float = Field(default=0.045, ge=0)
    """Epoch e has temperature * exp(-temperature_decay * e)."""
    temperature_least: float = Field(default=0.5, gt=0)
    """It falls no further."""
    freeze_clip: bool = False
    """Leave the towers, logit_scale included, as they are."""
    freeze_cnn: bool = False
    """Leave MobileNet as it is."""
    batch_norm: Literal["fixed", "legacy"] = "fixed"
    """legacy: the statistics of a frozen MobileNet drift in training, as in the original."""
    mask_layout: MaskLayout = "fixed"
    """legacy: word_agg transformer masks heads as released; a text then depends on its batch."""

    def check(self, *, max_frames: int, head_dim: int) -> None:
        """Refuse options that do not go together, or not with these sizes.

        Raises:
            OptionsError: names them and the remedy.
        """
        if self.policy_view == "centre" and not self.has_network:
            raise OptionsError(
                f"policy_view centre is for a MobileNet, and policy is {self.policy}:"
                " leave policy_view off"
            )
        if self.policy == "none":
            if self.reuse_scores:
                raise OptionsError(
                    "reuse_scores needs a policy's scores: set policy or leave it off"
                )
        elif self.top_k > max_frames:
            raise OptionsError(
                f"top_k {self.top_k} of max_frames {max_frames}: keep at most all frames"
            )
        if self.rnn == "transformer" and self.hidden_dim % head_dim:
            raise OptionsError(
                f"hidden_dim {self.hidden_dim} must be a multiple of head_dim {head_dim}"
            )
        if self.sim_header == "transformer" and self.warmup_epochs:
            raise OptionsError(
                "header transformer has positions for top_k frames: set warmup_epochs 0"
            )

    def sees_batch(self, *, training: bool) -> bool:
        """By the legacy masks; in training, by the statistics of a MobileNet that moves."""
        moves = not self.freeze_cnn or self.batch_norm == "legacy"
        by_statistics = training and self.has_network and moves
        return by_statistics or super().sees_batch(training=training)

    @property
    def of_backbone(self) -> dict[str, Any]:
        """How a policy looks at pixels."""
        if self.policy in ("none", "clip"):
            return {}
        return self.model_dump(include={"policy", "rescale_size", "policy_view"})

    @property
    def has_network(self) -> bool:
        """Whether the policy looks with a MobileNet."""
        return self.policy in NETWORKS

    @property
    def draws_noise(self) -> bool:
        """The policy's Gumbel noise."""
        return self.policy != "none"


_BY_NAME = {
    "policy_backbone": "policy",
    "init_tau": "temperature",
    "exp_decay_factor": "temperature_decay",
    "min_tau": "temperature_least",
}


def read_config(given: Mapping[str, Any]) -> OriginalSettings:
    """Settings from the original's configuration (a checkpoint's ``config``, golden options)."""
    renamed = {_BY_NAME.get(key, key): value for key, value in given.items()}
    options = {key: value for key, value in renamed.items() if key in AdaClipOptions.model_fields}
    for key in ("frame_agg", "word_agg"):
        if options.get(key) in (None, "None"):
            options[key] = "none"
    if not given.get("use_policy", True):
        options["policy"] = "none"
    if not given.get("use_rnn", True):
        options["rnn"] = "none"
    return OriginalSettings(
        options=options, max_words=int(given["max_txt_len"]), max_frames=int(given["num_frm"])
    )


def read_shapes(state: Mapping[str, Tensor]) -> OriginalSettings | None:
    """Settings a checkpoint's keys and shapes tell; None where it holds other families' keys.

    They do not tell top_k (but for header transformer), reuse_scores, qscore, temperatures and
    max_words: give those as options.
    """
    known = ("clip.", "sampler.", "frame_agg_", "word_agg_", "transformer")
    if any(not key.startswith((*known, "frame_position_embeddings.")) for key in state):
        return None
    options: dict[str, Any] = {}
    settings: dict[str, int] = {}
    for name in ("frame_agg", "word_agg"):
        for kind in ("mlp", "transformer"):
            if any(key.startswith(f"{name}_{kind}.") for key in state):
                options[name] = kind
    if any(key.startswith("sampler.") for key in state):
        options |= _policy_options(state)
        if "sampler.frame_position_embeddings.weight" in state:
            settings["max_frames"] = len(state["sampler.frame_position_embeddings.weight"])
    if any(key.startswith("transformerClip.") for key in state):
        options["sim_header"] = "seqTransf"
    elif any(key.startswith("transformer.") for key in state):
        options["sim_header"] = "transformer"
        rows = len(state["frame_position_embeddings.weight"])
        if "policy" in options:
            options["top_k"] = rows
        else:
            settings["max_frames"] = rows
    return OriginalSettings(options=options, **settings)


def _policy_options(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Options of the policy by the shapes under ``sampler.``."""
    options: dict[str, Any] = {"rnn": "none", "mlp_type": "fc"}
    first = "sampler.linear.0.weight"
    if "sampler.linear.2.weight" in state:
        options |= {"mlp_type": "mlp", "mlp_hidden_dim": len(state[first])}
    if "sampler.projection.0.weight" in state:
        first = "sampler.projection.0.weight"
        options |= {"rnn": "transformer", "hidden_dim": len(state[first])}
    elif "sampler.rnn.weight_ih_l0" in state:
        first = "sampler.rnn.weight_ih_l0"
        both = "sampler.rnn.weight_ih_l0_reverse" in state
        hidden = state["sampler.rnn.weight_hh_l0"].shape[1]
        options |= {"rnn": "bilstm" if both else "lstm", "hidden_dim": hidden}
    features = state[first].shape[1]
    if any(key.startswith("sampler.cnn_model.") for key in state):
        squeezes = any(".block." in key for key in state)
        options["policy"] = "mobilenet_v3_large" if squeezes else "mobilenet_v2"
    elif features == state["clip.text_projection"].shape[1]:
        options["policy"] = "clip"
    else:
        options |= {"policy": "raw", "rescale_size": math.isqrt(features)}
    return options
