import numpy as np
import pytest

from ssinfnet_jax.data import pipeline


class _Records:
    def __len__(self):
        return 10

    def __getitem__(self, index):
        if not 0 <= index < 10:
            raise IndexError(index)
        image = np.full((20 + index, 30), index, np.uint8)
        return {"image": image, "lesion": (image > 4).astype(np.uint8), "slice_id": f"s{index}", "patient_id": "p"}


def _ids(batch):
    return batch["slice_id"].tolist()


def _batches(**options):
    settings = {"batch_size": 4, "seed": 0, **options}
    return pipeline.TrainBatches(_Records(), range(10), pipeline.Resize(16, "lesion"), **settings)


def test_a_batch_is_a_function_of_seed_and_step():
    assert [_ids(_batches()[step]) for step in range(6)] == [_ids(_batches()[step]) for step in range(6)]
    assert any(_ids(_batches(seed=1)[step]) != _ids(_batches()[step]) for step in range(3))


def test_reading_ahead_from_a_step_gives_the_same_batches():
    batches = _batches()
    reader = pipeline.ReadAhead(batches)
    for step in (0, 1, 2, 7, 8, 3):
        assert _ids(reader[step]) == _ids(batches[step])


def test_every_record_comes_once_per_epoch_in_a_new_order():
    flat = [one for step in range(5) for one in _ids(_batches()[step])]
    first, second = flat[:10], flat[10:]
    assert sorted(first) == sorted(second) == sorted(f"s{i}" for i in range(10))
    assert first != second


@pytest.mark.parametrize("process_count", [2, 4])
def test_processes_share_the_batch_of_a_single_process(process_count):
    whole = _batches()
    parts = [
        _batches(batch_size=4 // process_count, process_index=index, process_count=process_count)
        for index in range(process_count)
    ]
    assert {part.steps_per_epoch for part in parts} == {whole.steps_per_epoch}
    for step in range(6):
        seen = {}
        for part in parts:
            seen.update(zip(part[step]["position"].tolist(), _ids(part[step]), strict=True))
        assert [seen[position] for position in range(4)] == _ids(whole[step])
        assert whole[step]["position"].tolist() == [0, 1, 2, 3]


def test_training_never_sees_padding():
    few = pipeline.TrainBatches(_Records(), range(3), pipeline.Resize(16), batch_size=8, seed=0)
    assert few.steps_per_epoch == 1
    assert few[0]["valid"].tolist() == [1] * 8


def test_arrays_have_fixed_shape_and_type():
    batch = _batches()[0]
    assert batch["image"].shape == batch["lesion"].shape == (4, 16, 16)
    assert batch["image"].dtype == batch["lesion"].dtype == np.uint8
    assert batch["valid"].tolist() == [1, 1, 1, 1]


def test_last_evaluation_batch_is_padded_and_marked():
    batches = list(pipeline.eval_batches(_Records(), range(10), pipeline.Resize(16), batch_size=4))
    assert [batch["valid"].sum() for batch in batches] == [4, 4, 2]
    real = [one for batch in batches for one, valid in zip(_ids(batch), batch["valid"], strict=True) if valid]
    assert real == [f"s{i}" for i in range(10)]


def test_priors_are_joined_by_slice():
    priors = {f"s{i}": np.full((8, 8), 10 * i, np.uint8) for i in range(10)}
    batch = next(pipeline.eval_batches(_Records(), [3], pipeline.Resize(16, None, priors), batch_size=1))
    assert np.unique(batch["prior"]).tolist() == [30]


def test_an_empty_split_is_an_error():
    with pytest.raises(ValueError, match="No slices to train on"):
        pipeline.TrainBatches(_Records(), [], pipeline.Resize(16), batch_size=2, seed=0)
