"""What a run hands over, judged by ONNX Runtime and the data set alone."""

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_digits

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def wrong(path, images, labels) -> int:
    """How many images the exported network gets wrong."""
    session = onnxruntime.InferenceSession(path)
    [outputs] = session.run(None, {session.get_inputs()[0].name: images})
    return int((outputs.argmax(axis=1) != labels).sum())


def test_exported_networks_have_the_errors_of_the_table(finished):
    splits = pq.read_table(finished.results / "data/splits.parquet").to_pandas()
    test = splits[splits["split"] == "test"]
    digits = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    resized = [
        np.asarray(Image.fromarray(digits[i]).resize((32, 32), Image.Resampling.BILINEAR)) for i in test["index"]
    ]
    images, labels = np.stack(resized)[:, None].astype(np.float32) / 255, test["label"].to_numpy()

    front = pq.read_table(finished.results / "pareto/front.parquet").to_pylist()
    assert front
    for member in front:
        assert abs(wrong(finished.results / member["onnx"], images, labels) - member["error_test"] * len(test)) <= 1
    unpruned = wrong(finished.results / "export/unpruned.onnx", images, labels)
    assert abs(unpruned - front[0]["baseline_error_test"] * len(test)) <= 1
