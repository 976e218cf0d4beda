"""Tables against what is written in them."""

import pytest

from landmark.course.ablation.table import read_table
from landmark.course.runs import course_config
from landmark.utils.errors import InputError


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("LANDMARK_QUICK", "1")


@pytest.fixture
def read(tmp_path):
    def from_text(text):
        (tmp_path / "a.toml").write_text(text)
        return read_table(tmp_path / "a.toml")

    return from_text


def test_one_thing_at_a_time(read):
    """Fails when a variant differs from the base in two settings, one that is the base is trained again, or seeds mix."""
    table = read('data = "world"\nseeds = [0, 4]\n[base]\nmodel = "resnet50_cbp_map"\nlr = 1e-3\nfreeze = "layer3"\n'
                 '[vary]\nlr = [0.001, 0.01]\nroot = [false]\nfreeze = ["layer2", "all"]\nmodel = ["xception_gem"]\n'
                 .replace('model = ["xception_gem"]\n', 'model = ["resnet50_gem"]\n'))  # fmt: skip
    base, *others = table.variants
    assert [(v.setting, v.value, v.name) for v in table.variants] == [
        ("base", "", "base"), ("lr", 0.001, "base"), ("lr", 0.01, "lr-0.01"), ("root", False, "root-False"),
        ("freeze", "layer2", "freeze-layer2"), ("freeze", "all", "freeze-all"),
        ("model", "resnet50_gem", "model-resnet50_gem"),
    ]  # fmt: skip
    assert base.config.lr == 1e-3 and base.config.size == course_config("resnet50").size
    for variant in others:
        changed = {n for n, value in variant.config.__dict__.items() if value != base.config.__dict__[n]}
        assert changed == ({variant.setting} if variant.name != "base" else set())
    assert table.seeds == [0, 4] and str(table.data) == "world" and table.out.name == "ablation-a"
    assert [(x.seed, folder) for x, folder in map(others[1].run, table.seeds)] == [
        (0, "lr-0.01-seed0"),
        (4, "lr-0.01-seed4"),
    ]


def test_settings_follow_the_course(read):
    """Fails when steps and epochs meet, views stay where tensors are frozen by number, or seeds have no default."""
    table = read('[base]\nepochs = 3\nmodel = "resnet50"\n[vary]\nfreeze = [0, 85, "layer3"]\n')
    assert table.seeds == [0, 1, 2] and table.data is None
    assert [(v.config.epochs, v.config.steps, v.config.views) for v in table.variants] == [(3, None, 0)] * 4
    assert read('[base]\nmodel = "resnet50"\n').variants[0].config.views == course_config("resnet50").views
    models = read('[base]\nmodel = "resnet50"\n[vary]\nmodel = ["xception"]\n').variants
    assert [v.config.freeze for v in models] == [course_config(m).freeze for m in ("resnet50", "xception")], (
        "a stage is another one in another network"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [("[base", "not a TOML file"), ("[bas]\n", "no such part of a table: bas"), ("base = 3\n", r"write \[base\]"),
     ("[base]\nlearning_rate = 1\n", "no such training setting: learning_rate: choose of model, size"), ("[vary]\nlearning_rate = [1]\n", "no such training setting"),
     ("[vary]\nlr = 0.1\n", "give a list of different values"), ("[vary]\nlr = [0.1, 0.1]\n", "different"), ("[vary]\nlr = []\n", "list"),
     ("[vary]\nlr = [-1]\n", "lr = -1: lr=-1: give a finite number above 0"), ("[vary]\nmin_images = [2]\n", "min_images cannot be varied: it decides which"),
     ("[base]\nseed = 1\n", "seed cannot be set: .*seeds"), ("seeds = [0.5]\n", "seeds"), ("seeds = 3\n", "seeds = 3"), ("data = 3\n", "data = 3: .*path"),
     ('[base]\nmodel = "resnet50"\nfreeze = "block7"\n', "no stage 'block7'"), ('[vary]\nloss = ["arcface", "hinge"]\n', "loss = 'hinge': no loss")],
)  # fmt: skip
def test_what_cannot_be_meant_is_one_line(read, text, words):
    """Fails when a typo is found out after hours of training, as a traceback, or without the file's name."""
    with pytest.raises(InputError, match=rf"a\.toml: .*{words}") as caught:
        read(text)
    assert "\n" not in str(caught.value)


def test_no_such_table(tmp_path):
    """Fails when a missing file is a traceback."""
    with pytest.raises(InputError, match="none.toml"):
        read_table(tmp_path / "none.toml")
