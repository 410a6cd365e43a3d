"""The folders and lists of Speech Commands: splits, the hash rule, and everything that may be wrong with them."""

from pathlib import Path

import numpy as np
import pytest

from bibench.data.speech_commands import (
    CLASSES,
    KEYWORDS,
    LISTS,
    NOISE_FOLDER,
    WORDS,
    Clip,
    check_folder,
    find_folder,
    index,
    split_by,
    which_split,
)
from bibench.errors import DataError

from .test_audio import write

# From the lists of the official v0.02, which the rule was checked against in full (20,986 entries).
LISTED = {
    "validation": ("right/a69b9b3e_nohash_0.wav", "four/c6389ab0_nohash_0.wav", "no/3ca784ec_nohash_1.wav"),
    "test": ("right/bb05582b_nohash_3.wav", "four/0c40e715_nohash_0.wav", "bed/0c40e715_nohash_0.wav"),
    "train": ("on/00176480_nohash_0.wav", "go/0a0b46ae_nohash_0.wav", "happy/01bb6a2a_nohash_0.wav"),
}


@pytest.mark.parametrize(("split", "name"), [(s, n) for s, names in LISTED.items() for n in names])
def test_hash_rule_gives_the_official_lists(split: str, name: str) -> None:
    assert which_split(name) == split
    assert which_split(name.rpartition("/")[2]) == split
    assert which_split(name.replace("_nohash_0", "_nohash_7")) == split, "a speaker is in one split"


def test_hash_rule_follows_its_percentages() -> None:
    names = [f"{n:08x}_nohash_0.wav" for n in range(4000)]
    assert {which_split(name, 0, 0) for name in names} == {"train"}
    assert {which_split(name, 100.1, 0) for name in names} == {"validation"}
    shares = [sum(which_split(name) == split for name in names) / 4000 for split in ("validation", "test")]
    assert shares == [pytest.approx(0.1, abs=0.015)] * 2
    assert which_split("foo.wav") == which_split("foo_nohash_0.wav")


def test_classes() -> None:
    assert len(CLASSES) == 12
    assert [Clip(f"{word}/a.wav").label for word in KEYWORDS] == list(range(10))
    assert CLASSES[Clip("bed/a.wav").label] == "_unknown_"
    assert [len(WORDS[v]) for v in ("v0.01", "v0.02")] == [30, 35]
    assert WORDS["v0.01"] < WORDS["v0.02"]
    assert set(KEYWORDS) < WORDS["v0.01"]


def speech_commands(folder: Path, version: str = "v0.01", *, lists: bool = True) -> Path:
    """A tiny distribution in the true form: per word one clip of each split, some shorter than a second."""
    random = np.random.RandomState(0)
    for word in WORDS[version]:
        for split in LISTED:
            name = LISTED[split][0].rpartition("/")[2]
            write(folder / word / name, random.randint(-3000, 3000, random.choice([16_000, 11_000])))
    for noise in ("pink_noise.wav", "running_tap.wav"):
        write(folder / NOISE_FOLDER / noise, random.randint(-3000, 3000, 40_000))
    (folder / NOISE_FOLDER / "README.md").write_text("credits")
    (folder / "LICENSE").write_text("CC BY 4.0")
    if lists:
        for split, file in LISTS.items():
            name = LISTED[split][0].rpartition("/")[2]
            (folder / file).write_text("".join(f"{word}/{name}\n" for word in sorted(WORDS[version])))
    return folder


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("version", ["v0.01", "v0.02"])
def test_lists_and_hash_rule_give_the_same_splits(tmp_path: Path, version: str, lists: bool) -> None:
    folder = speech_commands(tmp_path, version, lists=lists)
    assert split_by(folder) == ("lists" if lists else "hash rule")
    assert check_folder(folder, version) == ""
    splits = index(folder, version)
    for split, clips in splits.items():
        name = LISTED[split][0].rpartition("/")[2]
        assert [clip.path for clip in clips] == [f"{word}/{name}" for word in sorted(WORDS[version])]


def test_lists_decide_over_the_hash(tmp_path: Path) -> None:
    folder = speech_commands(tmp_path)
    name = LISTED["train"][0].rpartition("/")[2]
    (folder / LISTS["test"]).write_text(f"\nbed/{name}\r\n\n")
    assert [clip.path for clip in index(folder, "v0.01")["test"]] == [f"bed/{name}"]


@pytest.mark.parametrize(
    "place", ["speech_commands_v0.02", "SpeechCommands/speech_commands_v0.02", "speech_commands/speech_commands_v0.02"]
)
def test_folders_are_found_by_their_public_names(tmp_path: Path, place: str) -> None:
    assert find_folder(tmp_path, "v0.02") is None
    (tmp_path / place).mkdir(parents=True)
    assert find_folder(tmp_path, "v0.02") == tmp_path / place
    assert find_folder(tmp_path, "v0.01") is None


def test_a_plain_folder_is_recognized_by_its_words(tmp_path: Path) -> None:
    for word in WORDS["v0.01"]:
        (tmp_path / "speech_commands" / word).mkdir(parents=True)
    assert find_folder(tmp_path, "v0.01") == tmp_path / "speech_commands"
    assert find_folder(tmp_path, "v0.02") is None


def damage_lines(name: str, line: str):
    def damage(folder: Path) -> None:
        with (folder / name).open("a") as stream:
            stream.write(line + "\n")

    return damage


def remove(pattern: str):
    def damage(folder: Path) -> None:
        for file in folder.glob(pattern):
            file.unlink() if file.is_file() else file.rmdir()

    return damage


def both_lists(folder: Path) -> None:
    damage_lines("testing_list.txt", (folder / "validation_list.txt").read_text().splitlines()[0])(folder)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: [remove("yes/*")(f), remove("yes")(f)], r"lacks 1 of the 30 word folders .* v0\.01 \(yes"),
        (lambda f: (f / "hello").mkdir(), r"hello is no word of Speech Commands v0\.01 \(1 such"),
        (remove("_background_noise_/*.wav"), r"_background_noise_ has no wave files; unpack"),
        (remove("bed/*.wav"), r"bed has no wave files"),
        (remove("testing_list.txt"), r"has validation_list\.txt but not the other list"),
        (
            damage_lines("testing_list.txt", "../../etc/passwd"),
            r"testing_list\.txt, line 31: '\.\./\.\./etc/passwd' is not",
        ),
        (damage_lines("testing_list.txt", "/etc/a.wav"), r"line 31: '/etc/a\.wav' is not of the form word/name\.wav"),
        (
            damage_lines("validation_list.txt", "bed/../yes/a.wav"),
            r"validation_list\.txt, line 31: .* is not of the form",
        ),
        (
            damage_lines("validation_list.txt", "bed/ffffffff_nohash_0.wav"),
            r"line 31: bed/ffffffff_nohash_0\.wav is not there",
        ),
        (both_lists, r"bed/a69b9b3e_nohash_0\.wav is in both lists \(1 such"),
        (lambda f: (f / "testing_list.txt").write_text("\n"), r"testing_list\.txt is empty"),
        (lambda f: (f / "testing_list.txt").write_bytes(b"\xff\xfe"), r"testing_list\.txt cannot be read"),
    ],
)
def test_what_does_not_belong_is_named(tmp_path: Path, damage, told: str) -> None:
    folder = speech_commands(tmp_path)
    damage(folder)
    with pytest.raises(DataError, match=told):
        index(folder, "v0.01")


def test_a_part_of_the_distribution_is_refused(tmp_path: Path) -> None:
    folder = speech_commands(tmp_path, lists=False)
    remove(f"*/{LISTED['test'][0].rpartition('/')[2]}")(folder)
    with pytest.raises(DataError, match="has no clips for the test split; is it the whole distribution"):
        index(folder, "v0.01")


def test_lists_may_have_a_mark_and_any_ends_of_lines(tmp_path: Path) -> None:
    folder = speech_commands(tmp_path)
    expected = index(folder, "v0.01")
    for name in LISTS.values():
        (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes().replace(b"\n", b" \r\n"))
    assert index(folder, "v0.01") == expected
    with (folder / LISTS["test"]).open("a", newline="") as stream:
        stream.write("bed/a.wav\x0cbed/b.wav\n")
    with pytest.raises(DataError, match=r"testing_list\.txt, line 31: 'bed/a\.wav\\x0cbed/b\.wav' is not of the form"):
        index(folder, "v0.01")


def test_a_link_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    folder = speech_commands(tmp_path / "data")
    (folder / NOISE_FOLDER).rename(tmp_path / "noise")
    (folder / NOISE_FOLDER).symlink_to(tmp_path / "noise")
    assert check_folder(folder, "v0.01") == ""
    (folder / "bed" / "gone.wav").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"bed/gone\.wav is a link that cannot be followed"):
        index(folder, "v0.01")
