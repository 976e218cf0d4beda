"""An ablation: one thing at a time is changed against a base, over seeds, on the same images.

table       What an ablation changes: a base, and values of some settings, read from a TOML file.
study       Train an ablation's runs, score them, and compare each with the base.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.course.ablation.study import Study, ablate
    from landmark.course.ablation.table import Table, Variant, read_table

__all__ = ["Study", "Table", "Variant", "ablate", "read_table"]

__getattr__, __dir__ = lazy(__name__, __file__)
