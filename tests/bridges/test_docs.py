"""What docs/bridges.md shows runs as typed."""

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("opacus")
pytest.importorskip("diffprivlib")
import torch
from opacus import PrivacyEngine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from accountants import Policy

PAGE = (Path(__file__).parents[2] / "docs" / "bridges.md").read_text(encoding="utf-8")

pytestmark = [
    pytest.mark.filterwarnings("ignore:Secure RNG turned off:UserWarning"),
    pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning"),
]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_python_blocks_run():
    def batches():
        return DataLoader(TensorDataset(torch.zeros(40, 3), torch.zeros(40).long()), batch_size=4)

    model, net = nn.Linear(3, 2), nn.Linear(3, 2)
    names = {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "loader": batches(),
        "criterion": nn.CrossEntropyLoss(),
        "engine": PrivacyEngine(),
        "net": net,
        "sgd": torch.optim.SGD(net.parameters(), lr=0.1),
        "private": batches(),
        "ages": np.arange(100.0),
        "smokes": np.arange(100) % 2,
    }
    for block in blocks("python"):
        exec(block, names)
    assert names["spends"].remaining() == (1.0, 0)
    assert names["by_patient"].remaining() == (0.5, 0)


def test_the_policy_shown_is_one(tmp_path):
    (text,) = blocks("yaml")
    (tmp_path / "policy.yaml").write_text(text)
    assert Policy.from_yaml(tmp_path / "policy.yaml").third_party == {"diffprivlib"}
