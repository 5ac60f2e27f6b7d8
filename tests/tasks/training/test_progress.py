import pytest

from reelvec.tasks.training.progress import Progress


def run(points, steps_per_epoch=2, selects=True):
    progress = Progress(steps_per_epoch=steps_per_epoch, total_steps=steps_per_epoch * len(points))
    for metrics in points:
        for loss in (1.0, 3.0):
            progress = progress.after_step(loss)
        assert progress.ends_epoch
        progress = progress.after_epoch(metrics, rate=0.1, selects=selects)
    return progress


def score(recall, mean_rank):
    return {"R@1": recall, "MnR": mean_rank}


@pytest.mark.parametrize(
    ("points", "best"),
    [
        ([score(10, 5.0), score(20, 6.0), score(15, 1.0)], 2),
        ([score(10, 5.0), score(10, 5.0)], 1),  # only strictly better wins
        ([score(10, 5.0), score(10, 4.0)], 2),  # among equal recalls the mean rank
        ([score(0, 9.0), {}, score(0, 8.0)], 3),  # the second was not evaluated
    ],
)
def test_best_epoch(points, best):
    assert run(points).best.epoch == best


def test_without_selection_the_last_epoch_is_best():
    assert run([{}, {}, {}], selects=False).best.epoch == 3


def test_history_says_epoch_step_and_mean_loss():
    progress = run([score(10, 5.0), {}])
    assert progress.history == (
        {"epoch": 1.0, "step": 2.0, "loss": 2.0, "lr": 0.1, "R@1": 10, "MnR": 5.0},
        {"epoch": 2.0, "step": 4.0, "loss": 2.0, "lr": 0.1},
    )
    assert progress.finished
    assert progress.epoch == 2


def test_json_is_exact():
    progress = run([score(100 / 3, 1.1)]).after_step(0.1 + 0.2)
    assert Progress.model_validate_json(progress.model_dump_json()) == progress
