"""Oracle: the names of the paper, written out."""

import subprocess
import sys

import pytest

from landmark.models.recipes import (
    BACKBONES,
    BINARY,
    COSINES,
    FOR_NONE,
    HEADS,
    LOSSES,
    NORMALISED,
    POOLINGS,
    RECIPES,
    backbone_of,
    check_switches,
    data_config,
    list_models,
    recipe,
)
from landmark.training.config import TrainConfig
from landmark.utils.errors import InputError


def test_the_papers_models_come_first_and_every_combination_has_a_name():
    """Fails when a name of the paper moves or means something else, or two recipes get one name."""
    assert list_models()[:8] == [
        "resnet50", "xception", "xception_spatial", "xception_cbp", "xception_cbp_attention",
        "xception_spatial_map", "xception_cbp_map", "xception_cbp_attention_map",
    ]  # fmt: skip
    assert len(RECIPES) == len(set(RECIPES.values())) == len(BACKBONES) * len(POOLINGS)
    assert recipe("resnet50") == ("resnet50", "average") and recipe("resnet50_gem") == ("resnet50", "gem")
    assert recipe("xception_cbp_attention_map") == ("xception", "cbp_attention_map")
    assert recipe("efficientnet_lite0_spatial_map") == ("efficientnet_lite0", "spatial_map")
    assert all(name.removeprefix(backbone_of(name)).removeprefix("_") in ("", *POOLINGS) for name in list_models())
    assert data_config("resnet50_max") == {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.mark.parametrize("name", ["vgg", "xception_", "xception_average", "gem", "", None, ["xception"]])
def test_an_unknown_model_is_one_line_that_lists_the_parts(name):
    """Fails when a typo surfaces as a KeyError, a damaged setting as a TypeError, or the choices are not named."""
    for use in (backbone_of, data_config, lambda name: TrainConfig(model=name)):
        with pytest.raises(InputError, match=r"^no model .*resnet50, xception.*spatial, .*cbp[^\n]*$") as caught:
            use(name)
        assert repr(name) in str(caught.value)


def test_names_need_no_torch():
    """Fails when listing the models would load what builds them."""
    code = "import sys, landmark; landmark.list_models(); import landmark.models.recipes; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stdout == "False\n", done.stderr


def test_the_parts_of_tables_name_lines_of_them():
    """Fails when a loss names a head that is none, or a rule speaks of a loss or a pooling by another name."""
    assert set(LOSSES.values()) <= HEADS.keys() and set(COSINES) <= HEADS.keys() and set(NORMALISED) <= POOLINGS.keys()
    assert set(BINARY) <= set(FOR_NONE) <= LOSSES.keys()


@pytest.mark.parametrize(
    ("name", "switches", "words"),
    [("xception", {"root": False}, "^root is .*xception has none.*xception_cbp_map$"), ("vgg16_gem", {"l2": True}, "^l2 is .*vgg16_cbp_map$"),
     ("xception_cbp", {"temperature": 2.0}, "^temperature .*xception_spatial_map$"), ("xception_cbp", {"gamma": 1.0}, "^gamma .*xception_cbp_attention_map$"), ("xception_spatial_map", {"shuffle": 3}, "^shuffle .*xception_spatial$"),
     ("xception", {"head": "big"}, "^no head 'big': choose one of mlp")],
)  # fmt: skip
def test_a_switch_that_a_model_lacks_is_one_line(name, switches, words):
    """Fails when a switch that changes nothing is taken, and two runs pass for different ones."""
    with pytest.raises(InputError, match=words):
        check_switches(name, **switches)
    check_switches("xception_cbp_map", head="cosine", root=False, l2=False)
    check_switches("xception_spatial", temperature=0.5, shuffle=3)
    check_switches("vgg16_cbp_spatial_map", root=False, l2=False, temperature=0.5)
    check_switches("xception_cbp_attention", gamma=1.0, shuffle=3)
