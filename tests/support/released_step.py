"""The originals' step on several processes, written plainly: DistributedDataParallel and a gather.

The twin of `gradient_scaling: legacy` and `negatives: process`. What stands where is in
specs/clip4clip-clip2video.md 1.6 and 3.2, specs/xclip-adaclip.md A1.4, B1.1 and B1.2.
"""

from types import SimpleNamespace

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from reelvec.models.features import TextFeatures, VideoFeatures
from reelvec.models.temporal import unit
from reelvec.models.training.losses import symmetric_loss


class AllGather(torch.autograd.Function):
    """Rows of all processes; a gradient comes back to the own rows alone, as released."""

    @staticmethod
    def forward(ctx, x):
        out = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(out, x.contiguous())
        ctx.rows = len(x)
        return torch.cat(out)

    @staticmethod
    def backward(ctx, gradient):
        first = dist.get_rank() * ctx.rows
        return gradient[first : first + ctx.rows]


class Loss(nn.Module):
    """The loss of a process, from its own texts and videos."""

    def __init__(self, model, logits):
        super().__init__()
        self.model, self.logits = model, logits

    def forward(self, tokens, given, noise):
        return symmetric_loss(self.logits(self.model, tokens, given, noise))


def gathered_features(model, tokens, given, noise):
    """CLIP4Clip, X-CLIP: features are gathered and then compared."""
    text, video = model.encode_text(tokens), model.encode_video(**given)
    text, video = ({k: AllGather.apply(x) for k, x in f.tensors.items()} for f in (text, video))
    return model.similarity(TextFeatures(text), VideoFeatures(video))


def tight_of_a_process(model, tokens, given, noise):
    """tightTransf gathers nothing: a process has its own rows only."""
    text, video = model.encode_text(tokens), model.encode_video(**given)
    features = text["sentence"], video["frames"], video["mask"]
    return model.cross_score(*features, noise=noise)


def adaclip(model, tokens, given, noise):
    """AdaCLIP gathers raw frames and words, and weighs them then."""
    words = model.clip.encode_text(tokens)  # whole captions: words of other lengths do not gather
    sentence = words[torch.arange(len(words)), tokens.argmax(1)]
    kept = model.encode_frames(given["frames"])
    if model.has_policy:
        shown = SimpleNamespace(all=lambda frames=kept: frames)
        kept, _, _ = model._choose(shown, given["policy_frames"], given["noise"])
    kept, sentence, words, tokens = (AllGather.apply(x) for x in (kept, sentence, words, tokens))
    video = model.weigh_frames(kept)
    text = unit(sentence)
    if model.options.word_agg == "mlp" and model.options.frame_agg == "none":
        real = torch.arange(tokens.shape[1]) <= tokens.argmax(1, keepdim=True)
        logits = model.word_agg_mlp(words).squeeze(2) / model.options.word_agg_temp
        weights = logits.masked_fill(~real, -torch.inf).softmax(1)
        text = unit((weights[..., None] * words).sum(1))
    return model.logit_scale.exp() * (text @ video.T)


def gradients(model, logits, *, tokens, given, noise=None):
    """What each parameter's gradient is after DDP has averaged it."""
    step = DistributedDataParallel(Loss(model, logits))
    step(tokens, given, noise).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
