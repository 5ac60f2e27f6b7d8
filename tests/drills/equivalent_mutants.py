"""Mutants that change no vector, each with the reason.

Keys are those of tests.drills.source_mutants.Mutant, which prints them.
"""

# ruff: noqa: E501 - keys are quoted as they are
_MEMORY = "how much is held at once; the numbers are the same"
_UNIT = "a length that `unit` takes away, or that of a video without frames, which is no number"

EQUIVALENT = {
    (
        "models.adaclip.policy",
        "hard_top_k",
        "constant",
        "1",
        "2",
        "taken = taken.scatter_add(1, index, torch.full_like(scores[:, :1], math.log(_TINY))) #2",
    ): "scattering reads as many columns as there are indices, one",
    (
        "models.clip.blocks",
        "forward",
        "flag",
        "False",
        "True",
        "def forward(self, x: Tensor, *, mask: Tensor | None=None, causal: bool=False, first_only:  #2",
    ): "a default: the block that calls says it",
    (
        "models.clip.blocks",
        "forward",
        "operator",
        "len(self.resblocks) - 1",
        "len(self.resblocks) + 1",
        "last = len(self.resblocks) - 1",
    ): "the last block then computes tokens that nobody asks for",
    (
        "models.headers",
        "cross_score",
        "constant",
        "1",
        "2",
        "tall = max(_PAIRS // wide, 1)",
    ): _MEMORY,
    (
        "models.cross",
        "forward",
        "without first_only",
        "self.transformer(x, mask=added, first_only=True)",
        "self.transformer(x, mask=added)",
        "first = self.transformer(x, mask=added, first_only=True)[:, 0]",
    ): "tokens that nobody asks for are computed too",
    (
        "models.sampling.timeline",
        "on_screen",
        "operator",
        "end - start",
        "end + start",
        "n = max(0, int(np.ceil((end - start) * rate)))",
    ): "more times are asked for, and those past the end dropped",
    (
        "models.temporal",
        "pool",
        "comparison",
        "count == 0",
        "count != 0",
        "return unit(total / count.masked_fill(count == 0, 1.0))",
    ): _UNIT,
    (
        "models.xclip.similarity",
        "_both",
        "comparison",
        "torch.minimum(low, over_frames.amin()) > _SMALLEST",
        "torch.minimum(low, over_frames.amin()) >= _SMALLEST",
        "if not (torch.minimum(low, over_frames.amin()) > _SMALLEST and high < torch.inf):",
    ): "at the very bound of lost digits, either way is right",
    (
        "models.xclip.similarity",
        "fast_scores",
        "condition",
        "if device == 'cpu' and threads > 1:",
        "if not (device == 'cpu' and threads > 1):",
        "if device == 'cpu' and threads > 1:",
    ): _MEMORY,
    (
        "storage.records",
        "_seconds",
        "comparison",
        "abs(float(short) - time) < _SAME_TIME_SECONDS",
        "abs(float(short) - time) <= _SAME_TIME_SECONDS",
        "return short if abs(float(short) - time) < _SAME_TIME_SECONDS else repr(float(time))",
    ): "a time that is off by exactly half a millisecond: either key is near enough",
    (
        "storage.video.contract",
        "Reading",
        "without default",
        "field(default=no_progress)",
        "field()",
        "progress: Callable[[], None] = field(default=no_progress)",
    ): "a sign of life, which every caller gives",
    (
        "storage.video.selective",
        "_seek",
        "without stream",
        "self._container.seek(ticks, stream=self._stream, backward=True, any_frame=False)",
        "self._container.seek(ticks, backward=True, any_frame=False)",
        "self._container.seek(ticks, stream=self._stream, backward=True, any_frame=False)",
    ): "what lies between is read and dropped, or all is decoded: the same frames",
    (
        "storage.video.selective",
        "_targets",
        "comparison",
        "self._keys[group] > runs_to",
        "self._keys[group] >= runs_to",
        "if self._keys[group] > runs_to:",
    ): "a run that ends at a keyframe goes on, or another begins there: the same frames",
    (
        "tasks.embedding.encoding",
        "_fixed_size_list",
        "constant",
        "1",
        "2",
        "values = pa.array(flat.reshape(-1))",
    ): "NumPy takes any negative number as the rest",
    (
        "storage.video.decoders",
        "read_frames",
        "left out",
        "sink.clear()",
        "pass",
        "sink.clear()",
    ): "what a decoder put before it failed is right, so the next need not put it again",
}
