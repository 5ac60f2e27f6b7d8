"""A retrieval task of mteb made of a run's own files, where mteb is installed."""

import datasets
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata


class TextToVideo(AbsTaskRetrieval):
    """Captions of the split test ask for its videos, which come as files."""

    metadata = TaskMetadata(
        name="ReelvecTestT2VRetrieval",
        description="captions and videos of a run",
        dataset={"path": "none", "revision": "none"},
        type="Any2AnyRetrieval",
        eval_langs=["eng-Latn"],
        eval_splits=["test"],
        main_score="ndcg_at_10",
        category="t2v",
        modalities=["video", "text"],
    )

    def load_data(self, *_, **__):
        self.data_loaded = True


def text_to_video(run, *, files):
    """The task, of the videos and captions that the run has vectors of."""
    ids = run.videos.arrow(["video_id"], split="test").column("video_id").to_pylist()
    captions = run.captions.arrow(["caption_id", "video_id", "text"], split="test").to_pylist()
    captions = [c for c in captions if c["video_id"] in set(ids)]  # a failed video has none
    corpus = datasets.Dataset.from_dict(
        {"id": ids, "video": [{"path": files[one], "bytes": None} for one in ids]}
    )
    corpus = corpus.cast_column("video", datasets.Video(decode=False))
    queries = {"id": [c["caption_id"] for c in captions], "text": [c["text"] for c in captions]}
    task = TextToVideo()
    task.dataset = {
        "default": {
            "test": RetrievalSplitData(
                corpus=corpus.cast_column("video", datasets.Video()),
                queries=datasets.Dataset.from_dict(queries),
                relevant_docs={c["caption_id"]: {c["video_id"]: 1} for c in captions},
                top_ranked=None,
            )
        }
    }
    return task
