"""What the catalogues said is remembered by the same code alone, and never in the place of a user's own entries."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bibench.data import remembered
from bibench.data.location import CACHE
from bibench.suite import known


@pytest.fixture(autouse=True)
def light(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not imported PyTorch, with an empty cache and nothing of others in the catalogues."""
    monkeypatch.setenv(CACHE, str(tmp_path))
    monkeypatch.setattr(remembered, "_SAID", {})
    monkeypatch.setattr(remembered, "live", lambda: False)
    monkeypatch.setattr(known, "live", lambda: False)
    monkeypatch.setattr(known, "foreign", lambda: False)
    monkeypatch.setattr(remembered, "foreign", lambda: False)
    monkeypatch.setattr(known, "_before", None)
    known.forget()


class Asked:
    """Something that is asked, and counts how often."""

    def __init__(self, *said: object) -> None:
        self.said, self.times = list(said), 0

    def __call__(self) -> object:
        self.times += 1
        return self.said[min(self.times, len(self.said)) - 1]


def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_SAID", {})
    monkeypatch.setattr(known, "_before", None)


class TestRemembered:
    def test_is_asked_once_for_all_processes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ask = Asked([{"name": "bnn", "value": 0.1, "none": None}])
        assert remembered.remembered("list", ask) == remembered.remembered("list", ask) == ask.said[0]
        another_process(monkeypatch)
        assert remembered.remembered("list", ask) == ask.said[0]
        assert ask.times == 1

    def test_another_state_of_the_code_is_asked_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ask = Asked("before", "after")
        assert remembered.remembered("list", ask) == "before"
        another_process(monkeypatch)
        monkeypatch.setattr(remembered, "_state", lambda: "another")
        assert remembered.remembered("list", ask) == "after"

    def test_catalogues_that_are_there_are_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ask = Asked("before", "after")
        assert remembered.remembered("list", ask) == "before"
        another_process(monkeypatch)
        monkeypatch.setattr(remembered, "live", lambda: True)
        assert remembered.remembered("list", ask) == "after"

    def test_what_they_say_is_kept_for_those_who_do_without(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as there:
            there.setattr(remembered, "live", lambda: True)
            assert remembered.remembered("list", Asked("said")) == "said"
        another_process(monkeypatch)
        assert remembered.remembered("list", Asked("another")) == "said"

    def test_nothing_of_others_is_kept(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(remembered, "foreign", lambda: True)
        assert remembered.remembered("list", Asked("theirs")) == "theirs"
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("damage", ["", "{", "[]", '{"other": 1}', '{"said": '])
    def test_a_damaged_file_is_asked_anew(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damage: str) -> None:
        ask = Asked("said")
        remembered.remembered("list", ask)
        (file,) = tmp_path.rglob("list.json")
        file.write_text(damage)
        another_process(monkeypatch)
        assert remembered.remembered("list", ask) == "said"
        assert json.loads(file.read_text()) == {"said": "said"}

    def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv(CACHE, str(tmp_path / "file" / "below"))
        ask = Asked("said")
        assert remembered.remembered("list", ask) == "said"
        another_process(monkeypatch)
        assert remembered.remembered("list", ask) == "said"
        assert ask.times == 2

    def test_few_states_are_kept(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for n in range(remembered.KEPT + 3):
            monkeypatch.setattr(remembered, "_state", lambda n=n: f"state{n}")
            remembered.keep("list", n)
            os.utime(tmp_path / "catalogues" / f"state{n}", (n, n))
        kept = {folder.name for folder in (tmp_path / "catalogues").iterdir()}
        assert kept == {f"state{n}" for n in range(3, remembered.KEPT + 3)}


def test_the_state_changes_with_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "PACKAGE", tmp_path)
    found = [remembered._state.__wrapped__()]
    (tmp_path / "operators").mkdir()
    for name in ("operators/mine.py", "operators/mine.py", "core.so", "known.toml"):
        with (tmp_path / name).open("a") as file:
            file.write("one more line\n")
        found.append(remembered._state.__wrapped__())
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "mine.pyc").write_text("")
    assert len(set(found)) == len(found)
    assert remembered._state.__wrapped__() == found[-1]


class TestKnownOfCells:
    def test_an_answer_is_remembered_when_it_was_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ask = Asked({"operator": "1a2b"}, {"operator": "other"})
        assert known.answer("a cell", "code", ask) == {"operator": "1a2b"}
        known.forget()  # as without `remember`
        another_process(monkeypatch)
        assert known.answer("a cell", "code", ask) == {"operator": "other"}
        known.remember()
        another_process(monkeypatch)
        assert known.answer("a cell", "code", ask) == {"operator": "other"}
        assert known.answer("a cell", "study", Asked(None)) is None
        assert known.answer("another cell", "code", Asked("theirs")) == "theirs"
        assert ask.times == 2

    def test_what_was_known_before_stays(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for question in ("code", "study"):
            known.answer("a cell", question, Asked(question))
            known.remember()
            another_process(monkeypatch)
        assert [known.answer("a cell", q, Asked("anew")) for q in ("code", "study")] == ["code", "study"]

    def test_nothing_of_others_is_kept(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        known.answer("a cell", "code", Asked("theirs"))
        monkeypatch.setattr(known, "foreign", lambda: True)
        known.remember()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_operator_of_a_loaded_file_is_seen_and_not_remembered(tmp_path: Path) -> None:
    """After the verb was told without it, and before it is told without it again."""
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from bibench import operator\nfrom bibench.operators.bnn import BNN\n\n\n"
        '@operator("mine")\nclass Mine(BNN):\n    title = "Mine"\n\n    def scale(self, w):\n        return None\n'
    )
    env = {**os.environ, CACHE: str(tmp_path / "cache")}

    def listed(*more: object) -> str:
        words = [sys.executable, "-c", "from bibench.cli.app import main; main()", "list", "operators", *map(str, more)]
        ended = subprocess.run(words, capture_output=True, text=True, env=env)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    told = [listed(), listed("--load", mine), listed()]
    assert ["Mine" in text for text in told] == [False, True, False]
    assert told[0] == told[2]
