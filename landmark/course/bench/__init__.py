"""How fast this project is, beside a plain way, in the same run.

check     How fast `landmark check` is: images a second of the whole check, from files and from TARs.
integers  Ours in 8-bit integers beside well-kept libraries, in one run.
layers    How fast the layers of this project are, against their textbook form.
measure   What benchmarks measure with: clocks that wait for the device, peaks of memory and of products, spreads.
recipes   Two ways to train and to predict, ready to be timed: the plain recipe of 2019 and ours.
speed     How fast training, prediction and loading are, against the plain recipe of 2019 in the same run.
tables    How fast the train table is read at its full size, against the plain pandas way, measured side by side.
threads   What waiting threads cost on a quiet and on a busy machine.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.course.bench.check import bench_check
    from landmark.course.bench.layers import bench_layers
    from landmark.course.bench.speed import bench_data, bench_predict, bench_train
    from landmark.course.bench.tables import bench_tables

__all__ = ["bench_check", "bench_data", "bench_layers", "bench_predict", "bench_tables", "bench_train"]

__getattr__, __dir__ = lazy(__name__, __file__)
