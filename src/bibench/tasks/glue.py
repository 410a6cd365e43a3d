"""GLUE (Wang et al., ICLR 2019): nine tasks of sentences and pairs of sentences, in English.

https://gluebenchmark.com. The public test sets have no labels: as in all published comparisons of
binarized BERTs, the development set is what is reported here (our test split), so nothing may be
chosen on it. Validation is cut from the training set, the same for everyone, by a hash of the sentence.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import ClassVar

from bibench.data import glue
from bibench.data.layout import Expected
from bibench.data.location import DATA_ROOT
from bibench.data.text import BERT_FOLDER, Example
from bibench.recipes.recipe import Recipe
from bibench.tasks.base import task
from bibench.tasks.text_classification import TextClassification

MODELS = (
    "bert_tiny4[pretrained=TinyBERT_General_4L_312D]",
    "bert_tiny6[pretrained=TinyBERT_General_6L_768D]",
    "bert_base[pretrained=bert-base-uncased]",
)
"""The paper's, from the pretrained weights in folders of these names (of huggingface.co) under the data root."""


PRETRAINED = (
    Expected(BERT_FOLDER, "huggingface.co/google-bert: vocab.txt for all pretrained models, weights", required=False),
    *(
        Expected(name, f"huggingface.co/huawei-noah/{name}: pretrained weights", required=False)
        for name in ("TinyBERT_General_4L_312D", "TinyBERT_General_6L_768D")
    ),
)
"""Not part of GLUE, but what `MODELS` start from; architectures without the option ``pretrained`` need none."""


def recipes(lr: float, epochs: int, batch_size: int, fp32_epochs: int = 3) -> dict[str, Recipe]:
    """Adam, warm-up of 10 %, linear decay, weight decay 0.01 and distillation from the fine-tuned BERT.

    Settings as in the official release (CoLA, MRPC, MNLI; its iterations as epochs) and in BiBERT's
    scripts (the others). Full precision is fine-tuned as BERT's paper does: 3e-5, few epochs.
    """
    paper = Recipe(
        epochs=epochs,
        batch_size=batch_size,
        optimizer="adamw",
        lr=lr,
        weight_decay=0.01,
        schedule="linear",
        warmup=0.1,
        clip_grad_norm=1.0,
        distillation="logits",
        fp32=(("lr", 3e-5), ("epochs", fp32_epochs)),
    )
    quick = paper.with_options({"epochs": 1})
    return {"paper": paper, "quick": quick, "smoke": quick}


class Glue(TextClassification):
    """What the nine tasks share: the readers and the splits. `form` says where the files keep what."""

    form: ClassVar[glue.Format]
    group = "glue"
    source = "https://gluebenchmark.com/tasks, or huggingface.co/datasets/nyu-mll/glue"
    models = MODELS

    def missing(self) -> str:
        if self.data_root is None:
            return f"no data root given; pass --data-root or set ${DATA_ROOT} to the folder of glue/{self.form.folder}"
        return glue.missing(self.data_root / "glue" / self.form.folder, self.form)

    def layout(self) -> tuple[Expected, ...]:
        pieces = [piece for part in ("train", "dev") for piece in self._pieces(part)]
        if (archive := glue.ARCHIVES.get(self.form.folder)) and not (self.data_root and self._there()):
            name, sha256 = archive
            what = f"the archive, {glue.ARCHIVES_URL}/{name}"
            pieces.append(Expected(f"glue/{name}", what, checksum=f"sha256:{sha256}", required=False))
        return (*pieces, *PRETRAINED)

    def _pieces(self, part: str) -> list[Expected]:
        """The official file of ``train`` or ``dev``, or the tables that are there instead of it."""
        parts = {"train": "training and validation", "dev": "what is reported"}
        what = f"{self.form.sizes[part == 'dev']:,} examples: {parts[part]}"
        folder = f"glue/{self.form.folder}"
        official = glue.tsv_file(Path(folder), self.form, part).as_posix()
        if self.data_root is None or (self.data_root / official).is_file():
            return [Expected(official, what)]
        tables = glue.table_files(self.data_root / folder, self.form, part)
        return [Expected(file.relative_to(self.data_root).as_posix(), what) for file in tables] or [
            Expected(official, f"{what} (or the Hugging Face form)")
        ]

    def _there(self) -> bool:
        assert self.data_root is not None
        return not glue.missing(self.data_root / "glue" / self.form.folder, self.form)

    def examples(self, split: str) -> list[Example]:
        return self._parts[split]

    @cached_property
    def _parts(self) -> dict[str, list[Example]]:
        self.prepare()
        assert self.data_root is not None
        folder = self.data_root / "glue" / self.form.folder
        train, validation = glue.split_by_text(glue.read(folder, self.form, "train"))
        test = glue.read(folder, self.form, "dev")
        return {"train": train, "validation": validation, "test": test}


@task("glue_cola")
class CoLA(Glue):
    """Matthews' correlation on 1,043 sentences of linguistics papers: acceptable English or not?"""

    title = "CoLA (GLUE)"
    licence = "published for research; sentences from linguistics literature (fair use)"
    form = glue.FORMATS["cola"]
    metric = "matthews"
    max_length = 64
    train_examples = 8_123
    recipes = recipes(1e-4, 50, 16, fp32_epochs=10)


@task("glue_sst2")
class SST2(Glue):
    """Accuracy on 872 phrases of film reviews: positive or negative?"""

    title = "SST-2 (GLUE)"
    licence = "no licence stated; for research"
    form = glue.FORMATS["sst2"]
    chance = 0.509174
    max_length = 64
    train_examples = 63_982
    recipes = recipes(1e-4, 10, 16)


@task("glue_mrpc")
class MRPC(Glue):
    """Accuracy on 408 pairs of news sentences: does one paraphrase the other?"""

    title = "MRPC (GLUE)"
    licence = "Microsoft Research data licence, for research"
    form = glue.FORMATS["mrpc"]
    chance = 0.683824
    train_examples = 3_485
    recipes = recipes(2e-4, 23, 32, fp32_epochs=10)


@task("glue_stsb")
class STSB(Glue):
    """Pearson correlation with human similarity scores from 0 to 5 of 1,500 pairs; Spearman's is recorded too.

    Eq. 39 defines both, the tables print one number; the score here is Pearson's, the first of the two.
    """

    title = "STS-B (GLUE)"
    licence = "CC BY-SA 4.0 and others, by part; for research"
    form = glue.FORMATS["stsb"]
    metric = "pearson"
    num_classes = 0
    train_examples = 5_462
    recipes = recipes(1e-4, 20, 16, fp32_epochs=10)


@task("glue_qqp")
class QQP(Glue):
    """Accuracy on 40,430 pairs of questions of Quora's users: do both ask the same?"""

    title = "QQP (GLUE)"
    licence = "Quora's terms, non-commercial"
    form = glue.FORMATS["qqp"]
    chance = 0.631833
    train_examples = 345_654
    recipes = recipes(1e-4, 5, 16)


@task("glue_mnli")
class MNLI(Glue):
    """Accuracy on 9,815 pairs of the training genres: entailment, neutral or contradiction?"""

    title = "MNLI, matched (GLUE)"
    licence = "OANC licence, CC BY(-SA) 3.0 and others, by genre"
    form = glue.FORMATS["mnli"]
    num_classes = 3
    chance = 0.354457
    train_examples = 373_067
    recipes = recipes(5e-5, 5, 32)


@task("glue_mnli_mm")
class MNLIMismatched(MNLI):
    """Accuracy on 9,832 pairs of other genres than those trained on (the training is that of glue_mnli)."""

    title = "MNLI, mismatched (GLUE)"
    trained_as = "glue_mnli"
    form = glue.FORMATS["mnli_mm"]
    chance = 0.352217


@task("glue_qnli")
class QNLI(Glue):
    """Accuracy on 5,463 pairs: does the sentence of Wikipedia answer the question?"""

    title = "QNLI (GLUE)"
    licence = "CC BY-SA 4.0 (made from SQuAD)"
    form = glue.FORMATS["qnli"]
    chance = 0.505400
    train_examples = 99_506
    recipes = recipes(1e-4, 10, 16)


@task("glue_rte")
class RTE(Glue):
    """Accuracy on 277 pairs: does the first sentence entail the second?"""

    title = "RTE (GLUE)"
    licence = "no licence stated; for research"
    form = glue.FORMATS["rte"]
    chance = 0.527076
    train_examples = 2_366
    recipes = recipes(1e-5, 20, 16, fp32_epochs=10)


@task("glue_wnli")
class WNLI(Glue):
    """Accuracy on 71 pairs: is the pronoun resolved rightly?

    Readable, but part of no score: its training and development sets contradict each other by design.
    """

    title = "WNLI (GLUE, not scored)"
    group = ""
    licence = "CC BY 4.0"
    form = glue.FORMATS["wnli"]
    chance = 0.563380
    train_examples = 603
    recipes = recipes(1e-5, 20, 16, fp32_epochs=10)
