"""AdaCLIP's MACs: in evaluation the policy looks at N frames, and CLIP encodes the K it keeps."""

from __future__ import annotations

from reelvec.models.adaclip.mobilenet import FEATURES
from reelvec.models.adaclip.options import AdaClipOptions
from reelvec.models.adaclip.policy import FramePolicy
from reelvec.models.clip.architecture import Architecture
from reelvec.models.costs import (
    Macs,
    convolutions,
    frame_macs,
    lstm_macs,
    text_macs,
    transformer_macs,
)

__all__ = ["adaclip_macs"]

_HEADER_LAYERS = 4


def adaclip_macs(
    options: AdaClipOptions,
    sizes: Architecture,
    *,
    policy: FramePolicy | None,
    words: int,
    frames: int,
) -> Macs:
    """Of a text of `words` tokens, and of a video of `frames` frames.

    Args:
        options: the family's.
        sizes: of the towers.
        policy: the network that chooses frames; None: all are kept.
        words: tokens.
        frames: N.
    """
    width = sizes.embed_dim
    kept = frames if policy is None else options.top_k
    encoded = frames if options.policy == "clip" else kept
    video = encoded * frame_macs(sizes) + _header(options, width, kept=kept)
    video += _weights(options.frame_agg, width, tokens=kept)
    if policy is not None:
        video += policy_macs(options, policy, frames=frames, sizes=sizes)
    text = text_macs(sizes, words=words)
    if options.frame_agg == "none":
        text += _weights(options.word_agg, width, tokens=words)
    return Macs(text, video)


def policy_macs(
    options: AdaClipOptions, policy: FramePolicy, *, frames: int, sizes: Architecture
) -> int:
    """The network that scores N frames."""
    features, looking = sizes.embed_dim, 0
    if options.policy == "raw":
        features = options.rescale_size**2
    if policy.cnn_model is not None:
        looking = frames * convolutions(policy.cnn_model, side=sizes.image_size)
        features = FEATURES
    hidden = options.hidden_dim
    width = features if options.rnn == "none" else hidden
    if options.rnn == "transformer":
        looking += frames * features * hidden
        looking += transformer_macs(hidden, layers=1, tokens=frames)
    elif options.rnn != "none":
        directions = 2 if options.rnn == "bilstm" else 1
        looking += directions * lstm_macs(features, hidden=hidden, steps=frames)
    last = (width + 1) * options.mlp_hidden_dim if options.mlp_type == "mlp" else width
    return looking + frames * last


def _header(options: AdaClipOptions, width: int, *, kept: int) -> int:
    if options.sim_header == "meanP":
        return 0
    layers = _HEADER_LAYERS if options.sim_header == "seqTransf" else 1
    return transformer_macs(width, layers=layers, tokens=kept)


def _weights(kind: str, width: int, *, tokens: int) -> int:
    """Weights of frames or words by the MLP or transformer, and the weighted sum."""
    if kind == "mlp":
        return tokens * (4 * width * width + width) + tokens * width
    if kind == "transformer":
        return transformer_macs(width, layers=1, tokens=tokens) + 2 * tokens * width
    return 0
