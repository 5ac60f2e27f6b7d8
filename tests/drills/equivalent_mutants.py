"""Mutants that change no vector, each with the reason.

Keys are (module, function, change, before, after), as tests.drills.source_mutants prints them.
"""

_MEMORY = "how much is held at once; the numbers are the same"

EQUIVALENT = {
    (
        "models.clip.preprocess",
        "normalise",
        "without dtype",
        "torch.tensor(mean, dtype=torch.float64)",
        "torch.tensor(mean)",
    ): "the offset is float32 in the end, and the same bits for the means there are",
    (
        "models.frozen.perception_towers",
        "__init__",
        "constant",
        "0.07",
        "0.10500000000000001",
    ): "a start that a checkpoint always replaces: the family is not trained",
    (
        "models.clip2video.model",
        "encode_video",
        "comparison",
        "self.options.projection == 'sigmoid_mlp'",
        "self.options.projection != 'sigmoid_mlp'",
    ): "padded frames differ by rounding alone, which float64 does not show",
    (
        "tasks.embedding.encoding",
        "with_vectors",
        "condition",
        "if isinstance(features, VideoFeatures):",
        "if not isinstance(features, VideoFeatures):",
    ): "in every family the vectors of both sides come of the same columns in the same way",
    (
        "models.clip.tokenizer",
        "module",
        "constant",
        "2",
        "3",
    ): "how many words are remembered",
    (
        "models.xclip.similarity",
        "fast_scores",
        "comparison",
        "sides.words.device.type == 'cpu'",
        "sides.words.device.type != 'cpu'",
    ): _MEMORY,
    (
        "models.sampling.originals",
        "clip4clip_cv2",
        "constant",
        "0",
        "1",
    ): "at rate 1 only the first offset of a second is kept, whatever the step",
    (
        "storage.video.selective",
        "_stream",
        "constant",
        "1",
        "2",
    ): "threads of the decoder; its pictures are the same",
    (
        "storage.video.selective",
        "_seek",
        "left out",
        "self._container.seek(ticks, stream=self._stream, backward=True, any_frame=False)",
        "pass",
    ): "what lies between is read and dropped, which costs more",
    (
        "storage.video.selective",
        "module",
        "constant",
        "100",
        "101",
    ): "from how far on a seek is worth its cost",
    (
        "storage.video.contract",
        "Reading",
        "without default",
        "field(default=no_progress)",
        "field()",
    ): "a sign of life, which every caller gives",
    (
        "models.temporal",
        "pool",
        "constant",
        "1.0",
        "1.5",
    ): "a video without frames is no number, whatever it is divided by",
    (
        "models.headers",
        "cross_score",
        "operator",
        "_PAIRS // wide",
        "_PAIRS * wide",
    ): _MEMORY,
    (
        "models.adaclip.aggregation",
        "module",
        "constant",
        "1",
        "2",
    ): _MEMORY,
}
