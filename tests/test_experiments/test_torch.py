"""A user's ConvNet, watched: decays, hooks, formats, callbacks; skipped without PyTorch."""

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from experiments.array_formats import stored_arrays
from experiments.networks.theory import Terms, measure
from experiments.torch import (
    METRICS,
    collect,
    keras_callback,
    lightning_callback,
    metric_values,
    terms_of,
    trainer_callback,
    watch,
)
from experiments.torch.batches import head_of
from ufm import CrossEntropy, Focal, InputError

torch = pytest.importorskip("torch")
K, N, D = 3, 8, 16


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def network(relu=False):
    torch.manual_seed(0)
    nn = torch.nn
    last = [nn.ReLU()] if relu else []
    parts = [
        nn.Conv2d(1, 16, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, D),
        *last,
        nn.Dropout(0.1),
    ]
    return nn.Sequential(*parts, nn.Linear(D, K))


@pytest.fixture(scope="module")
def loader():
    """Three patterns under noise, as images of one channel."""
    torch.manual_seed(0)
    y = torch.arange(K).repeat_interleave(N)
    X = torch.randn(K, 1, 6, 6)[y] + 0.3 * torch.randn(K * N, 1, 6, 6)
    data = torch.utils.data.TensorDataset(X, y)
    return torch.utils.data.DataLoader(data, batch_size=10)


@pytest.fixture(scope="module")
def trained(loader):
    """A ConvNet that SGD with weight decay on everything brought to its minimum."""
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 64), nn.ReLU()),
        *(nn.Linear(64, D), nn.Linear(D, K)),
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-2)
    X, y = loader.dataset.tensors
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X), y).backward()
        optimizer.step()
    return model, optimizer


def test_a_trained_convnet_is_measured_at_the_proved_minimum(trained, loader):
    model, optimizer = trained
    seen = watch(model, "6", loader, optimizer=optimizer, loss=torch.nn.CrossEntropyLoss())
    assert seen.headline.startswith("collapsed: NC1 0.0")
    assert seen.headline.endswith("above the proved minimum")
    assert 0 < seen.measurement.appraisal.above < 0.03
    ratios = {row["quantity"]: row["ratio"] for row in seen.measurement.theory["rows"]}
    assert ratios["logit gap"] == pytest.approx(1, abs=0.05)
    assert "lambda_W = 0.01 from weight_decay=0.01 of SGD" in seen.notes
    assert "features in float32" in seen.facts["Precision"]
    # The same weights under another name of the optimiser get the refusal.
    other = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    assert "AdamW's decay is decoupled" in watch(model, None, loader, optimizer=other).headline
    # And an untrained network gets no ratio.
    fresh = network()
    told = watch(
        fresh, None, loader, optimizer=torch.optim.SGD(fresh.parameters(), weight_decay=1e-2)
    )
    assert "not at a minimum" in told.headline
    assert {row["ratio"] for row in told.measurement.theory["rows"]} == {None}


def test_what_a_hook_sees_is_what_goes_into_the_last_layer(loader):
    model = network(relu=True)
    model[5].eval()
    modes = [module.training for module in model.modules()]
    found = collect(model, None, loader)
    # The model is as it was: modes, hooks, and no gradient.
    assert [module.training for module in model.modules()] == modes
    assert not model[-1]._forward_pre_hooks
    assert all(parameter.grad is None for parameter in model.parameters())
    X, y = loader.dataset.tensors
    with torch.no_grad():
        inner = model[:5](X).numpy()
    assert np.array_equal(found["labels"], y.numpy())
    assert found["features"] == pytest.approx(inner, abs=1e-6)
    assert found["classifier"].shape == (K, D)
    assert found["features"].min() == 0
    whole = measure(found["features"], found["labels"], found["classifier"], found["bias"])
    streamed = watch(model, None, loader).measurement
    assert streamed.record.nc1_phd == pytest.approx(whole.record.nc1_phd, rel=1e-9)
    assert streamed.census.error == whole.census.error


def test_every_format_of_one_network_gives_the_same_numbers(ufm, trained, loader, tmp_path):
    model, optimizer = trained
    arrays = collect(model, None, loader)
    np.savez(tmp_path / "a.npz", **arrays)
    torch.save({name: torch.from_numpy(x) for name, x in arrays.items()}, tmp_path / "a.pt")
    words = "measure --lambda-w 0.01 --lambda-b 0.01 --json"
    files = [tmp_path / "a.npz", tmp_path / "a.pt"]
    try:
        from safetensors.torch import save_file

        save_file({n: torch.from_numpy(x) for n, x in arrays.items()}, tmp_path / "a.safetensors")
        files.append(tmp_path / "a.safetensors")
    except ImportError:
        pass
    found = [ufm(words, file).json for file in files]
    for each in found[1:]:
        assert each["metrics"] == found[0]["metrics"]
        assert each["theory"] == found[0]["theory"]
    seen = watch(model, None, loader, optimizer=optimizer)
    assert seen.headline == found[0]["headline"]
    # A state dictionary beside the features: the head is the one that fits.
    inner = {
        "features": torch.from_numpy(arrays["features"]),
        "y": torch.from_numpy(arrays["labels"]),
    }
    torch.save({**inner, "model": dict(model[-1:].state_dict())}, tmp_path / "b.pt")
    assert set(stored_arrays(tmp_path / "b.pt")) == {
        "features",
        "y",
        "model.6.weight",
        "model.6.bias",
    }
    assert ufm(words, tmp_path / "b.pt").json["theory"] == found[0]["theory"]


def optimizer(kind, groups):
    return getattr(torch.optim, kind)(groups, lr=0.1)


def test_decays_are_those_of_the_groups_and_of_the_loss():
    model = network()
    head, nn = model[-1], torch.nn
    inner = [p for module in model[:-1] for p in module.parameters()]

    def terms(kind="SGD", W=5e-4, b=0.0, features=1e-3, loss=None, **options):
        groups = [
            {"params": [head.weight], "weight_decay": W},
            {"params": [head.bias], "weight_decay": b},
            {"params": inner, "weight_decay": features},
        ]
        return terms_of(optimizer(kind, groups), head, loss, **options)[0]

    assert terms() == Terms(CrossEntropy(), 5e-4, None, 0.0)
    assert terms(b=2e-4).lambda_b == 2e-4
    assert terms(features=0.0).lambda_H == 0.0  # nothing holds the features
    assert terms(features=0.0, lambda_H=1e-6).lambda_H == 1e-6
    assert [terms(kind).optimizer for kind in ("Adam", "AdamW")] == ["sgd", "adamw"]
    smooth = terms(loss=nn.CrossEntropyLoss(label_smoothing=0.2))
    assert (smooth.loss.name, smooth.lambda_W) == ("ls(0.2)", 5e-4)
    squared, binary = terms(loss=nn.MSELoss(), b=1e-4), terms(loss=nn.BCEWithLogitsLoss())
    assert (squared.loss.name, squared.lambda_W) == ("mse", 5e-4 * K / 2)
    assert squared.lambda_b == 1e-4 * K / 2
    assert (binary.loss.name, binary.lambda_W) == ("bce", 5e-4 * K)
    assert terms(loss=Focal(2.0)).loss == Focal(2.0)
    for bad, says in (
        (nn.CrossEntropyLoss(weight=torch.ones(K)), "class weights"),
        (nn.CrossEntropyLoss(reduction="sum"), "averages over samples"),
        (nn.HingeEmbeddingLoss(), "CrossEntropyLoss, MSELoss"),
    ):
        with pytest.raises(InputError, match=says):
            terms(loss=bad)
    head.weight.requires_grad_(False)
    assert terms().fixed_classifier
    assert terms_of(None, head)[0] == Terms(CrossEntropy())


def test_the_factor_of_a_loss_is_that_of_its_values():
    """f = factor * f_torch, on random logits: nothing is taken from a table."""
    from experiments.torch.terms import loss_of

    rng = np.random.default_rng(0)
    Z, y = rng.normal(size=(7, K)), rng.integers(K, size=7)
    one_hot = torch.from_numpy(np.eye(K)[y])
    for module, target in (
        (torch.nn.CrossEntropyLoss(label_smoothing=0.2), torch.from_numpy(y)),
        (torch.nn.MSELoss(), one_hot),
        (torch.nn.BCEWithLogitsLoss(), one_hot),
    ):
        loss, factor, _ = loss_of(module, K)
        ours = np.mean([float(loss(z, int(k))) for z, k in zip(Z, y, strict=True)])
        assert ours == pytest.approx(factor * float(module(torch.from_numpy(Z), target)), rel=1e-12)


def test_what_is_not_understood_is_said(loader):
    model = network()
    with pytest.raises(InputError, match=r"once.*Got 0 calls"):
        collect(model, torch.nn.Linear(D, K), loader)
    with pytest.raises(InputError, match="Unknown module"):
        head_of(model, "fcc")
    with pytest.raises(InputError, match="a weight"):
        head_of(model, model[1])
    with pytest.raises(InputError, match="linear last layer"):
        head_of(torch.nn.Sequential(torch.nn.ReLU()))
    with pytest.raises(InputError, match="forward=lambda"):
        collect(model, None, [loader.dataset.tensors[0]])
    with pytest.raises(InputError, match="one class per sample"):
        collect(model, None, [(loader.dataset.tensors[0], torch.full((K * N, K), 1 / K))])
    cut = torch.utils.data.DataLoader(loader.dataset, batch_size=10, drop_last=True)
    told = watch(network(), None, cut).notes[-1]
    assert told.startswith("20 of 24 samples")
    # Batches of another form, and one-hot labels.
    X, y = loader.dataset.tensors
    named = [{"images": X, "labels": torch.nn.functional.one_hot(y)}]
    found = collect(model, None, named, lambda m, batch: (m(batch["images"]), batch["labels"])[1])
    assert np.array_equal(found["labels"], y.numpy())


def fake(monkeypatch, name, **parts):
    """A module of that name with nothing but what is asked for."""
    package = ModuleType(name)
    for key, value in parts.items():
        setattr(package, key, value)
    monkeypatch.setitem(sys.modules, name, package)


def test_callbacks_log_under_fixed_names(trained, loader, monkeypatch):
    model, optimizer = trained
    wanted = metric_values(watch(model, None, loader, optimizer=optimizer).measurement)
    assert set(wanted) == set(METRICS)
    logged = []
    fake(monkeypatch, "lightning")
    fake(monkeypatch, "lightning.pytorch", Callback=object)
    callback = lightning_callback(every=2)
    module = SimpleNamespace(log_dict=logged.append)
    monkeypatch.setattr(type(model), "log_dict", lambda self, x: logged.append(x), raising=False)
    for epoch in range(2):
        state = {"current_epoch": epoch, "train_dataloader": loader, "optimizers": [optimizer]}
        callback.on_train_epoch_end(SimpleNamespace(**state), model)
    assert logged == [wanted]
    assert module.log_dict
    fake(monkeypatch, "transformers", TrainerCallback=object)
    wrapped = SimpleNamespace(optimizer=optimizer)
    state = SimpleNamespace(epoch=1.0, global_step=7, log_history=[])
    parts = {"model": model, "optimizer": wrapped, "train_dataloader": loader}
    trainer_callback().on_epoch_end(None, state, None, **parts)
    assert state.log_history == [{**wanted, "epoch": 1.0, "step": 7}]


def test_a_framework_that_is_missing_is_named(monkeypatch):
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning", "transformers", "keras"):
        monkeypatch.setitem(sys.modules, name, None)
    for make, says in (
        (lightning_callback, "pip install lightning"),
        (trainer_callback, "pip install transformers"),
        (lambda: keras_callback("head", []), "pip install keras"),
    ):
        with pytest.raises(InputError, match=says):
            make()


def test_the_tutorial_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "tutorials" / "measure.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    said = capsys.readouterr().out
    assert len(blocks) == 7
    assert re.search(r"collapsed: NC1 .*% above the proved minimum", said)
    for note in re.findall(r"^    (loss: .*|lambda_.*)$", page, flags=re.MULTILINE):
        assert note in said
    assert "at a minimum, so that ratios say something" in said
    assert "not at a minimum" in said
    assert "AdamW's decay is decoupled" in said
    own = (tmp_path / "network.html").read_text()
    for part in ("features in float32", "weight_decay=0.01 of SGD", "Provenance", "proved minimum"):
        assert part in own
    assert {"network.npz", "network.pt"} <= {path.name for path in tmp_path.iterdir()}
