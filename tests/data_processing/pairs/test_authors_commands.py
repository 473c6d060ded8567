"""The command form of the authors' CTMA program, as flags of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

import Test_CTMA
import Train_CTMA
from data_processing.pairs.authors_commands import authors_form
from data_processing.pairs.spec import pair_spec_by_name
from utils.errors import UserError
from utils.settings import REPOSITORY, read_settings

CONFIGS = sorted((REPOSITORY / "configs").glob("*.yaml"))


def trained(*argv: str) -> Train_CTMA.Settings:
    return read_settings(
        Train_CTMA.Settings, authors_form(Train_CTMA.Settings, "train", argv), "Train_CTMA.py"
    )


def asked(*argv: str) -> Test_CTMA.Settings:
    return read_settings(
        Test_CTMA.Settings, authors_form(Test_CTMA.Settings, "eval", argv), "Test_CTMA.py"
    )


def written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_config_says_what_its_data_set_does_without_it(config: Path) -> None:
    settings = trained("train", "--exp_config", str(config))
    spec = pair_spec_by_name(settings.dataset)
    assert settings.dataset == config.stem
    plain = Train_CTMA.with_recipe(trained("--dataset", spec.name), spec)
    named = Train_CTMA.with_recipe(settings, spec)
    for name in ("lr", "lr_milestones", "lr_factor", "epochs", "repeats", "fusion_weights"):
        assert getattr(named, name) == getattr(plain, name), name
    assert asked("eval", "--exp_config", str(config)).fusion_weights == spec.fusion_weights


def test_there_is_a_config_for_every_data_set() -> None:
    assert [path.stem for path in CONFIGS] == ["folder", "levir", "svcd", "whu"]


@pytest.mark.parametrize("flag", ["--exp_config", "--exp-config"])
def test_flags_win_over_the_file_and_may_be_written_either_way(tmp_path: Path, flag: str) -> None:
    config = written(tmp_path / "c.yaml", "lr: 0.002\nbatch_size: 4\naugment: false\nseed: 3\n")
    settings = trained("train", flag, config, "--batch_size", "2", "--augment", "--num_epochs=7")
    assert (settings.lr, settings.batch_size, settings.augment) == (0.002, 2, True)
    assert (settings.seed, settings.epochs) == (3, 7)


def test_paths_in_a_file_are_relative_to_the_repository(tmp_path: Path) -> None:
    config = written(tmp_path / "c.yaml", "data_root: data/LEVIR\n")
    assert trained("--exp_config", config).data_root == REPOSITORY / "data/LEVIR"


def test_a_file_of_the_authors_is_understood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "config_svcd.yaml", "dataset: SVCD\nlr: 4e-4\nnum_epochs: 30\nrepeats: 7\n"
            "exp_dir: ../exp/\nweights: [0.5, 0.5]\n")  # fmt: skip
    config = written(tmp_path / "config_svcd_p2v.yaml", "model: P2V\np2v_model:\n  in_ch: 3\n"
                     "  video_len: 6\ncmb_coeffs: [1.0, 0.4]\nlr: 1e-3\n")  # fmt: skip
    settings = trained("train", "--exp_config", config)
    assert (settings.dataset, settings.epochs, settings.repeats) == ("svcd", 30, 7)
    assert (settings.lr, settings.video_len, settings.change_factor) == (1e-3, 6, 1.0)
    assert "without effect here: cmb_coeffs, exp_dir, model" in capsys.readouterr().out


def test_resume_with_weights_scores_or_starts_from_them(tmp_path: Path) -> None:
    weights = written(tmp_path / "model_best_p2v.pth", "")
    settings = asked("eval", "--resume", weights, "--save_on", "--subset", "val")
    assert (settings.checkpoint, settings.split, settings.save_on) == (Path(weights), "val", True)
    assert trained("train", "--resume", weights).checkpoint == Path(weights)
    assert not trained("train", "--resume", weights).resume


def test_resume_with_the_last_weights_of_a_run_goes_on_with_it(tmp_path: Path) -> None:
    last = written(tmp_path / "last.pth", "")
    written(tmp_path / "settings.json", "{}")
    settings = trained("train", "--resume", last)
    assert (settings.resume, settings.output_dir, settings.checkpoint) == (True, tmp_path, None)


def test_our_own_resume_still_takes_no_value(tmp_path: Path) -> None:
    for value in ((), ("true",)):
        settings = trained("--resume", *value, "--output-dir", str(tmp_path))
        assert (settings.resume, settings.output_dir) == (True, tmp_path)


def test_a_missing_file_to_resume_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found no file"):
        trained("train", "--resume", str(tmp_path / "none.pth"))


def test_the_other_programs_word_is_refused_with_its_name() -> None:
    with pytest.raises(UserError, match="run Test_CTMA"):
        trained("eval")
    with pytest.raises(UserError, match="run Train_CTMA"):
        asked("train")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("learning_rat: 1\n", "not known: learning_rat"),
        ("- 1\n", "expected names with values"),
        ("a: [\n", "no readable YAML"),
        ("lr: fast\n", "--lr: found 'fast', expected a number"),
        ("dataset: dsifn\n", "--dataset: found 'dsifn', expected one of svcd"),
    ],
)
def test_a_faulty_file_is_told(tmp_path: Path, text: str, part: str) -> None:
    config = written(tmp_path / "c.yaml", text)
    with pytest.raises(UserError) as caught:
        trained("--exp_config", config)
    assert part in str(caught.value)


def test_a_missing_file_and_a_missing_value_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a YAML file"):
        trained("--exp_config", str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match="found no value"):
        trained("--exp_config", "--batch_size", "2")


def test_names_of_theirs_work_as_flags(capsys: pytest.CaptureFixture[str]) -> None:
    settings = trained(
        "train", "--dataset", "LEVIRCD", "--p2v_model.video_len", "4", "--p2v_model.in_ch=3",
        "--num_epochs", "3", "--weights", "0.5", "1", "--track_intvl", "5", "--exp_dir", "../exp",
        "--tag", "a", "--tb_vis_bands", "0", "1", "2", "--out_type", "logits", "--optimizer=Adam",
        "--subset", "val", "--sched_on", "--suffix_off", "--batch_size", "2",
    )  # fmt: skip
    assert (settings.dataset, settings.video_len, settings.epochs) == ("levir", 4, 3)
    assert (settings.change_factor, settings.batch_size) == (2.0, 2)
    said = capsys.readouterr().out
    for name in ("--track_intvl", "--exp_dir", "--tag", "--tb_vis_bands", "--subset", "--sched_on"):
        assert name in said
    scored = asked("eval", "--p2v_model.video_len", "4", "--subset", "val", "--num_epochs", "3")
    assert (scored.video_len, scored.split) == (4, "val")


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--optimizer", "SGD"], "optimizer: found SGD, expected Adam"),
        (["--out_type", "dist"], "out_type: found dist, expected logits"),
        (["--p2v_model.in_ch", "4"], "expected 3"),
        (["--weights", "0", "1"], "weights: found 0 1, expected two numbers"),
        (["--weights", "1"], "weights: found 1, expected two numbers"),
        (["--p2v_model.depth", "4"], "unknown flag --p2v_model.depth"),
        (["--track_intvls", "4"], "unknown flag --track_intvls"),
        (["--exp_config"], "found no value"),
        (["--p2v_model.video_len", "1"], "--video-len: found '1'"),
    ],
)
def test_what_is_not_done_here_is_refused(flags: list[str], part: str) -> None:
    with pytest.raises(UserError) as caught:
        trained("train", *flags)
    assert part in str(caught.value)


def test_without_their_word_flags_of_the_other_program_are_unknown() -> None:
    with pytest.raises(UserError, match="unknown flag --lr"):
        asked("--lr", "1")
    with pytest.raises(UserError, match="found 'train', which belongs to no flag"):
        trained("--lr", "1", "train")


def test_inheritance_by_name_can_be_switched_off(tmp_path: Path) -> None:
    written(tmp_path / "config.yaml", "lr: 0.5\n")
    config = written(tmp_path / "config_svcd.yaml", "seed: 3\n")
    assert trained("train", "--exp_config", config).lr == 0.5
    assert trained("train", "--exp_config", config, "--inherit_off").lr is None
