"""Names of run folders: what they tell, and that the same command finds its run again."""

from pathlib import Path

import pytest

from ddpm_jax import runs
from ddpm_jax.runs import naming


@pytest.fixture
def name(tiny_config, monkeypatch, tmp_path):
    """The default folder of a config file with overrides, which are put into the config as well."""
    monkeypatch.chdir(tmp_path)

    def of(file, start="", **changes):
        changes = {key.replace("__", "."): value for key, value in changes.items()}
        tiny_config.update_from_flattened_dict(changes)
        return str(runs.default_folder(file, [f"--config.{key}={changes[key]}" for key in changes], tiny_config, start))

    return of


def test_a_config_alone_names_its_run(name):
    assert name("configs/digits/ddpm.py") == "runs/digits_ddpm"
    assert name("/some/where/configs/digits/ddpm.py") == "runs/digits_ddpm"
    assert name("configs/mine.py") == "runs/mine"
    assert name("configs/mnist/ddpm.py:small") == "runs/mnist_ddpm_small"
    assert name("configs/mnist/ddpm.py:../a b") == "runs/mnist_ddpm_..-a-b"


def test_what_is_changed_stands_in_the_name(name):
    changed = name("configs/digits/ddpm.py", optimizer__learning_rate=3e-4, seed=1)
    assert changed[:-9] == "runs/digits_ddpm_learning_rate0.0003_seed1"
    assert name("configs/digits/ddpm.py", optimizer__learning_rate=3e-4, seed=1) == changed
    assert name("configs/digits/ddpm.py", optimizer__learning_rate=3e-4, seed=2) != changed
    both = name("configs/digits/ddpm.py", training__steps=7, sampler__steps=1)
    assert both[:-9] == "runs/digits_ddpm_sampler.steps1_training.steps7"


def test_the_order_of_options_makes_no_other_run(name):
    one = name("configs/digits/ddpm.py", seed=1, optimizer__learning_rate=1e-3)
    assert name("configs/digits/ddpm.py", optimizer__learning_rate=1e-3, seed=1) == one


def test_own_data_are_named_by_their_folder(name):
    named = name("configs/digits/ddpm.py", data__name="folder", data__dir="/some/where/cats")
    assert named[:-9] == "runs/digits_ddpm_name-cats"


def test_what_changes_no_result_changes_no_name(name):
    assert name("configs/digits/ddpm.py", logging__wandb="offline") == "runs/digits_ddpm"
    changed = name("configs/digits/ddpm.py", seed=1)
    assert name("configs/digits/ddpm.py", seed=1, logging__wandb="off", name="x") == changed


def test_two_runs_have_two_names_where_words_do_not_tell_them_apart(name):
    long = "x" * 200
    one, two = (name("mine.py", data__splits__train=long + end) for end in "ab")
    assert one[:-9] == two[:-9] and one != two
    assert len(Path(one).name) == 89
    assert name("mine.py", optimizer__b1=0.1234567) != name("mine.py", optimizer__b1=0.12345671)


def test_a_run_that_an_earlier_version_has_put_elsewhere_stays_there(name):
    now = Path(name("configs/digits/ddpm.py", seed=1))
    then = Path(f"runs/digits_ddpm{now.name[-9:]}")
    then.mkdir(parents=True)
    assert name("configs/digits/ddpm.py", seed=1) == str(then)
    assert name("configs/digits/ddpm.py", seed=2) != str(then)


def test_a_run_that_starts_from_another_says_so(name):
    assert name("configs/digits/ddpm.py", start="runs/old one/") == "runs/digits_ddpm_from-old-one"
    assert name("configs/mine.py", start="runs/old", seed=1)[:-9] == "runs/mine_from-old_seed1"


def test_a_digest_apart(tiny_config):
    """Sweeps have given these names to their members, and find them again."""
    assert naming.words({"a.b": 0.5, "c": (1, 2)}) == ["b0.5", "c(1, 2)"]
    assert naming.plain(["x", "c(1, 2)", "../y"]) == "x_c-1-2-_..-y"
