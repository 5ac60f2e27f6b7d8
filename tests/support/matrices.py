"""Metrics of a similarity matrix that is in memory."""

from reelvec.models.ranking.metrics import MetricOptions, evaluate_similarity


def evaluate_matrix(similarity, *, text_to_video, options=None, subsets=None):
    """`evaluate_similarity` for a matrix [T, V]."""
    return evaluate_similarity(
        lambda: [similarity],
        text_to_video=text_to_video,
        n_videos=int(similarity.shape[1]),
        options=options or MetricOptions(),
        subsets=subsets,
    )
