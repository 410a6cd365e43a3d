"""Suites, their filters, and the cells that come out."""

import re
from collections import Counter
from pathlib import Path

import pytest

from bibench.cli.options import filters
from bibench.foundation.choice import choice
from bibench.foundation.errors import BiBenchError, UnknownNameError
from bibench.operators import PAPER_ORDER, known_operators
from bibench.recipes.recipe import learning_rate
from bibench.suite.cell import Cell
from bibench.suite.definition import SUITES, Filters, Suite, cells
from bibench.tasks import TASKS
from bibench.tracks import TRACKS
from bibench.train.cell import identity_fields

from ..worlds import fresh_registries, tiny_world

IMAGES = Suite(
    name="images",
    description="for tests of filters",
    tasks=("digits_photos",),
    models={"digits_photos": ("vgg_small[width=8]", "resnet18[width=16,stem=imagenet]")},
    recipe="quick",
    seeds=(0, 1),
)
MODALITIES = {"image", "detection", "point cloud", "text", "speech"}


def keep(suite: str | Suite = IMAGES, **values: object) -> list[Cell]:
    return cells(SUITES[suite] if isinstance(suite, str) else suite, Filters(**values))


def refusal(suite: str | Suite = IMAGES, **values: object) -> str:
    with pytest.raises(BiBenchError) as caught:
        keep(suite, **values)
    return str(caught.value)


@pytest.mark.parametrize("name", list(SUITES))
class TestEverySuite:
    def test_its_cells_are_valid_and_distinct(self, name: str) -> None:
        found = cells(SUITES[name])
        assert found
        assert max(Counter(found).values()) == 1
        assert max(Counter(cell.path for cell in found).values()) == 1
        for cell in found:
            cell.validate()
            assert Cell.from_dict(cell.to_dict()) == cell

    def test_baselines_come_first_and_every_cell_has_its_own(self, name: str) -> None:
        found = cells(SUITES[name])
        flags = [cell.full_precision for cell in found]
        assert flags == sorted(flags, reverse=True)
        assert {cell.baseline for cell in found if not cell.full_precision} == {c for c in found if c.full_precision}

    def test_its_tracks_exist(self, name: str) -> None:
        assert set(SUITES[name].tracks) <= set(TRACKS)


@pytest.mark.parametrize("name", ["quick", "smoke", "embedded", "paper"])
def test_every_modality_is_covered(name: str) -> None:
    assert {TASKS[c.task.name].modality for c in cells(SUITES[name])} == MODALITIES


@pytest.mark.parametrize("name", ["quick", "smoke", "embedded"])
def test_all_operators_are_compared_without_a_download(name: str) -> None:
    found = cells(SUITES[name])
    assert {str(c.operator) for c in found} == set(known_operators()) >= set(PAPER_ORDER)
    assert all(TASKS[c.task.name].embedded for c in found)


def test_embedded_is_every_embedded_task_at_full_size_over_several_seeds() -> None:
    found = cells(SUITES["embedded"])
    optional = {"spoken_words", "bible_pairs"}  # need further packages
    assert {c.task.name for c in found} == {n for n in TASKS if TASKS[n].embedded} - optional
    assert {str(c.recipe) for c in found} == {"paper"}
    assert {c.seed for c in found} == {0, 1, 2}
    places = Counter((c.task.name, str(c.model)) for c in found)
    assert set(places) == {(task, str(choice(m))) for task in {c.task.name for c in found} for m in TASKS[task].models}
    assert set(places.values()) == {3 * len(known_operators())}


def test_smoke_has_all_operators_on_images_and_a_few_elsewhere() -> None:
    found = cells(SUITES["smoke"])
    by_task = {task: {str(c.operator) for c in found if c.task.name == task} for task in SUITES["smoke"].tasks}
    assert by_task.pop("digits_photos") == set(known_operators())
    assert set(map(frozenset, by_task.values())) == {frozenset({"fp32", "bnn", "reactnet"})}
    assert {str(c.recipe) for c in found} == {"smoke"}


def test_operators_by_task() -> None:
    given = Suite(
        name="s", description="", tasks=("digits_photos", "shapes"), recipe="quick", operators={"shapes": ("bnn",)}
    )
    assert given.operators_of("shapes") == ("bnn",)
    assert given.operators_of("digits_photos") == known_operators()
    asked = keep(given, operators=["fda"])
    assert {(c.task.name, str(c.operator)) for c in asked} == {
        (task, operator) for task in given.tasks for operator in ("fp32", "fda")
    }


def test_a_strangers_operator_and_suite_appear() -> None:
    with tiny_world():
        assert {"slow", "silent"} <= {c.operator.name for c in cells(SUITES["quick"])}
        assert {c.operator.name for c in cells(SUITES["tiny"])} == {"fp32", "bnn", "recu"}
        assert not [c for c in cells(SUITES["paper"]) if c.operator.name == "slow"]
    assert "tiny" not in SUITES


class TestSensitivity:
    @pytest.mark.parametrize(("name", "step_momentum"), [("sensitivity", 0.9), ("sensitivity_release", 0.0)])
    def test_the_grid_of_tables_15_and_16(self, name: str, step_momentum: float) -> None:
        found = cells(SUITES[name])
        assert len(found) == 8 * 9 * 5
        assert {(str(c.task), str(c.model)) for c in found} == {("cifar10", "resnet18")}
        settings = {(r.optimizer, r.lr, r.schedule, r.momentum) for c in found for r in [c.resolved_recipe()]}
        sgd = {("sgd", lr, s, m) for lr in (0.1, 0.01) for s, m in (("cosine", 0.9), ("step", step_momentum))}
        assert settings == sgd | {("adam", lr, s, 0.9) for lr in (1e-3, 1e-4) for s in ("cosine", "step")}

    def test_full_precision_and_operators_are_trained_alike_from_scratch(self) -> None:
        for cell in cells(SUITES["sensitivity"]):
            recipe = cell.resolved_recipe()
            assert not cell.starts_from_baseline
            assert (recipe.epochs, recipe.init, recipe.distillation, recipe.weight_decay) == (200, "scratch", "none", 0)
            if cell.baseline:
                assert cell.baseline.resolved_recipe() == recipe

    def test_the_step_schedule_falls_at_epochs_100_and_150(self) -> None:
        (chosen,) = {
            c.resolved_recipe() for c in keep("sensitivity", recipe="sensitivity[optimizer=sgd,lr=0.1,schedule=step]")
        }
        rates = {epoch: learning_rate(epoch / 200, chosen) for epoch in (0, 99, 100, 149, 150, 199)}
        assert rates == pytest.approx({0: 0.1, 99: 0.1, 100: 0.01, 149: 0.01, 150: 0.001, 199: 0.001})

    def test_the_quick_one_has_the_same_grid(self) -> None:
        quick, full = ({str(c.recipe) for c in cells(SUITES[n])} for n in ("sensitivity_quick", "sensitivity"))
        assert quick == full
        assert {c.operator.name for c in cells(SUITES["sensitivity_quick"])} >= set(PAPER_ORDER)

    def test_its_settings_are_prescribed_and_belong_to_the_study(self) -> None:
        for name in ("sensitivity", "sensitivity_release", "sensitivity_quick"):
            found = cells(SUITES[name])
            assert {c.division for c in found} == {"closed"}
            assert {str(c.study) for c in found} == {name.removesuffix("_quick")}

    @pytest.mark.parametrize(
        ("recipe", "division", "study"),
        [
            ("sensitivity[optimizer=sgd,lr=0.1,schedule=step]", "closed", "sensitivity"),
            ("sensitivity[optimizer=sgd,lr=0.1,schedule=step,epochs=3]", "open", "sensitivity[epochs=3]"),
            ("sensitivity_release[optimizer=sgd,lr=0.1,schedule=step,momentum=0]", "closed", "sensitivity_release"),
            ("sensitivity_release[optimizer=sgd,lr=0.1,schedule=step]", "open", None),
            ("sensitivity[optimizer=sgd,lr=0.2,schedule=step]", "open", None),
            ("sensitivity[lr=0.1]", "open", None),
            ("sensitivity", "closed", None),
            ("quick", "closed", None),
            ("quick[epochs=3]", "open", None),
        ],
    )
    def test_divisions(self, recipe: str, division: str, study: str | None) -> None:
        chosen = Cell(choice("digits_photos"), choice("vgg_small"), choice("bnn"), choice(recipe), 0)
        assert (chosen.division, chosen.study and str(chosen.study)) == (division, study)
        assert (identity_fields(chosen)["division"], identity_fields(chosen)["study"]) == (division, study or "")

    def test_recipes_are_an_axis_that_filters_narrow(self) -> None:
        def recipes(wanted: str | None) -> list[str]:
            return list(dict.fromkeys(str(c.recipe) for c in keep("sensitivity_quick", recipe=wanted)))

        everything = recipes(None)
        assert len(everything) == 8
        assert recipes("sensitivity") == everything
        assert recipes("sensitivity[optimizer=sgd]") == [r for r in everything if "sgd" in r]
        assert recipes("sensitivity[lr=0.1,schedule=step]") == ["sensitivity[lr=0.1,optimizer=sgd,schedule=step]"]
        assert recipes(everything[3]) == [everything[3]]

    def test_further_options_are_added_to_each(self) -> None:
        found = keep("sensitivity_quick", recipe="sensitivity[epochs=1]")
        assert len({c.recipe for c in found}) == 8
        assert {c.resolved_recipe().epochs for c in found} == {1}
        assert {c.division for c in found} == {"open"}

    def test_what_fits_none_takes_their_place(self) -> None:
        for recipe in ("smoke", "sensitivity[lr=0.5,optimizer=sgd]"):
            assert {c.recipe for c in keep("sensitivity_quick", recipe=recipe)} == {choice(recipe)}


class TestFilters:
    def test_an_operator_always_brings_its_baseline(self) -> None:
        found = keep(operators=["bnn"], seeds=[1])
        assert [str(c.operator) for c in found] == ["fp32", "fp32", "bnn", "bnn"]
        assert keep(operators=["fp32", "bnn"], seeds=[1]) == found

    def test_operators_may_carry_options_and_be_new_to_the_suite(self) -> None:
        found = keep("smoke", tasks=["shapes"], operators=["recu[scale_init=weight]", "recu", "bnn[profile=original]"])
        assert [str(c.operator) for c in found] == ["fp32", "recu[scale_init=weight]", "recu", "bnn[profile=original]"]

    def test_a_bare_model_means_the_suites_own(self) -> None:
        assert {str(c.model) for c in keep(models=["resnet18"])} == {"resnet18[stem=imagenet,width=16]"}
        assert keep(models=["resnet18"]) == keep(models=["resnet18[width=16,stem=imagenet]"])

    @pytest.mark.parametrize("model", ["resnet18[width=4]", "resnet20"])
    def test_models_new_to_the_suite_join_it(self, model: str) -> None:
        found = keep(models=[model, "vgg_small"], operators=["bnn"], seeds=[0])
        assert Counter(str(c.model) for c in found) == {model: 2, "vgg_small[width=8]": 2}

    def test_seeds_and_recipe_replace_the_suites(self) -> None:
        found = keep("smoke", tasks=["shapes"], seeds=[5, 7, 5], recipe="quick[epochs=2]", operators=["bnn"])
        assert [c.seed for c in found] == [5, 7, 5, 7]
        assert {str(c.recipe) for c in found} == {"quick[epochs=2]"}
        assert found[0].resolved_recipe().epochs == 2

    def test_the_command_lines_lists_and_ranges(self) -> None:
        read = filters(["cifar10,imagenet"], None, ["bnn", "recu[scale_init=weight],fda"], ["0-2,7", "9"], None)
        assert read == Filters(
            tasks=["cifar10", "imagenet"],
            models=[],
            operators=["bnn", "recu[scale_init=weight]", "fda"],
            seeds=[0, 1, 2, 7, 9],
        )

    @pytest.mark.parametrize(
        ("seeds", "problem"),
        [
            ("a", "'a' is neither a number nor a range such as 0-4"),
            ("-1", "'-1' is neither a number nor a range"),
            ("1-", "'1-' is neither a number nor a range"),
            ("4-2", "'4-2' ends before it begins"),
        ],
    )
    def test_nonsense_seeds(self, seeds: str, problem: str) -> None:
        with pytest.raises(BiBenchError, match=f"--seeds: {problem}"):
            filters(None, None, None, [seeds], None)

    @pytest.mark.parametrize(
        ("wanted", "problem"),
        [
            ({"operators": ["reactnt"]}, "unknown operator 'reactnt'; did you mean 'reactnet'"),
            ({"models": ["resnet2O"]}, "unknown model 'resnet2O'; did you mean 'resnet20'"),
            ({"models": ["resnt20[width=8]"]}, "unknown model 'resnt20'; did you mean 'resnet20'"),
            ({"tasks": ["cifar"]}, "unknown task 'cifar'; did you mean 'cifar10'"),
            (
                {"operators": ["recu[scale=1]"]},
                "operator 'recu' has no option 'scale'; did you mean 'scale_init'?; it has: profile='default', scale",
            ),
            ({"operators": ["fp32[scale=1]"]}, "operator 'fp32' has no option 'scale'"),
            ({"models": ["vgg_small[depth=9]"]}, "model 'vgg_small' has no option 'depth'; it has: width=128"),
            ({"recipe": "qick"}, "task 'digits_photos' has no recipe 'qick'; it has: paper, quick, smoke"),
            ({"recipe": "quick[epoch=1]"}, "a recipe has no 'epoch'; it has: backward"),
            ({"recipe": "quick[lr=0]"}, "lr must be"),
            ({"recipe": "quick["}, "'quick[' is not of the form"),
            ({"seeds": [-1]}, "seeds must not be negative, got [-1]"),
        ],
    )
    def test_what_does_not_exist_is_named_with_near_misses(self, wanted: dict, problem: str) -> None:
        assert problem in refusal(**wanted)

    def test_contradictions_name_both_sides(self) -> None:
        assert refusal(tasks=["imagenet"]) == "task 'imagenet' is not in suite 'images', which has: digits_photos"
        message = refusal("paper", tasks=["imagenet"], models=["vgg_small"])
        assert message == (
            "--models vgg_small: suite 'paper' trains it on other tasks than imagenet, which have resnet18"
        )

    def test_unknown_names_are_lookup_errors(self) -> None:
        with pytest.raises(UnknownNameError, match=re.escape("unknown suite 'quik'; did you mean 'quick'?")):
            SUITES["quik"]

    def test_a_broken_suite_says_what_is_wrong(self) -> None:
        with fresh_registries():
            wrong = Suite(name="s", description="", tasks=("digits_photos",), recipe="quick", operators=("bnnn",))
            with pytest.raises(UnknownNameError, match="did you mean 'bnn'"):
                cells(wrong)


class TestCell:
    CELL = Cell(choice("digits_photos"), choice("vgg_small[width=4]"), choice("bnn"), choice("quick"), 3)

    def test_names_itself_and_its_place(self) -> None:
        assert str(self.CELL) == "digits_photos vgg_small[width=4] bnn quick seed 3"
        assert self.CELL.path == Path("digits_photos/vgg_small,width=4/bnn/quick/seed3")

    def test_its_baseline_is_full_precision_under_the_same_recipe(self) -> None:
        baseline = self.CELL.baseline
        assert baseline is not None
        assert str(baseline) == "digits_photos vgg_small[width=4] fp32 quick seed 3"
        assert baseline.full_precision
        assert baseline.baseline is None

    @pytest.mark.parametrize(
        ("recipe", "needs"),
        [("quick", True), ("quick[init=scratch]", False), ("quick[distillation=logits,init=scratch]", True)],
    )
    def test_knows_when_it_needs_the_baselines_weights(self, recipe: str, needs: bool) -> None:
        cell = Cell(self.CELL.task, self.CELL.model, self.CELL.operator, choice(recipe), 0)
        assert cell.starts_from_baseline is needs
        assert cell.baseline is not None
        assert not cell.baseline.starts_from_baseline

    @pytest.mark.parametrize("change", [{"seed": "x"}, {"seed": None}, {"task": None}, {"operator": "a b"}])
    def test_other_data_is_not_a_cell(self, change: dict) -> None:
        with pytest.raises(BiBenchError):
            Cell.from_dict({**self.CELL.to_dict(), **change})

    def test_an_incomplete_description_is_no_cell(self) -> None:
        with pytest.raises(BiBenchError, match=r"not the description of a cell: cell.model is missing"):
            Cell.from_dict({"task": "x"})
