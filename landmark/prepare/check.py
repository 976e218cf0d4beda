"""Check a data folder: broken tables, bad images, and images that a test shares with what is trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from landmark.data.archives import ImageStore
from landmark.data.tables import read_categories, read_nonlandmark, read_solution, read_test, read_train
from landmark.prepare.duplicates import duplicate_groups, pairs_between, torn_at_random
from landmark.prepare.inspection import Inspection, forget, inspect_split
from landmark.utils.errors import InputError, TableError, file_errors

SPLITS = ("train", "test", "index", "nonlandmark")
EXAMPLES = 20  # of each kind, for people
LEARNT = ("train", "nonlandmark")  # splits that are trained on: a test image in one of them is a leak
HELD_OUT = 0.1  # of the train images, by a plain random dev split to compare with
TINY = 32  # pixels of the shorter side
KINDS = {
    "missing": "rows without an image",
    "truncated": "files that end too early",
    "unreadable": "files that are no image",
    "wrong_split": "images whose row is in another split's table",
    "wrong_format": "files that are no JPEG, whatever their name",
    "exif": "stored turned, with EXIF's note how to turn them back",
    "grey": "without colour",
    "cmyk": "in the colours of printers",
    "tiny": f"shorter side below {TINY} pixels",
    "constant": "one colour and nothing else",
    "wrong_label": "suspected wrong labels",
    "rotated": "suspected of lying on the side or upside down",
}


@dataclass
class HealthReport:
    """Counts, errors of tables, every bad or missing image by id with its reason, leaks, and odd images."""

    root: str
    tables: dict[str, int] = field(default_factory=dict)  # rows by file
    table_errors: list[str] = field(default_factory=list)
    archive_errors: list[str] = field(default_factory=list)  # TARs that are damaged; what is left of them is inspected
    archive_notes: list[str] = field(default_factory=list)  # TARs that may not be whole
    landmarks: int = 0
    images: dict[str, int] = field(default_factory=dict)  # readable, by split
    bad: list[dict[str, str]] = field(default_factory=list)  # split, id, reason, kind
    odd: dict[str, list[dict[str, str]]] = field(default_factory=dict)  # images to know of, by kind: split, id, detail
    exact_duplicates: list[list[str]] = field(default_factory=list)  # groups of "split/id", the one to keep first
    near_duplicates: list[list[str]] = field(default_factory=list)
    label_conflicts: list[list[str]] = field(default_factory=list)  # duplicates with different landmark_ids
    leaks: list[dict[str, str]] = field(default_factory=list)  # kind ("exact", "near"), test: an id, learnt: "split/id"
    random_split: dict[str, float] = field(default_factory=dict)  # pairs in train, and how many HELD_OUT would tear
    without_row: dict[str, int] = field(default_factory=dict)
    junk: int = 0
    skipped: dict[str, int] = field(default_factory=dict)  # TAR members passed over, by reason

    @property
    def exit_code(self) -> int:
        """0 sound; 1 images that are bad or missing, a damaged TAR, or a leak; 2 a table that cannot be trusted."""
        return 2 if self.table_errors else int(bool(self.bad or self.archive_errors or self.leaks))

    @property
    def counts(self) -> dict[str, int]:
        """Count images by kind, bad ones and odd ones."""
        counts = {kind: len(images) for kind, images in self.odd.items()}
        for item in self.bad:
            counts[item["kind"]] = counts.get(item["kind"], 0) + 1
        return {kind: counts[kind] for kind in KINDS if kind in counts}

    def tell(self, kind: str, split: str, ids: Iterable[str], details: Iterable[object]) -> None:
        """Note images of one of `KINDS`; suspects of a trained network may be noted as well."""
        images = [{"split": split, "id": i, "detail": str(d)} for i, d in zip(ids, details, strict=True)]
        if images:
            self.odd.setdefault(kind, []).extend(images)

    def found(self) -> dict[str, set[str]]:
        """List ids by detector, named as in a miniature world's planted.csv: of duplicates, all but the one to keep."""
        ids = {kind: {item["id"] for item in images} for kind, images in self.odd.items()}
        ids["unreadable"] = {item["id"] for item in self.bad if item["kind"] != "missing"}
        groups = self.exact_duplicates + self.near_duplicates
        ids["duplicate"] = {name.split("/")[1] for group in groups for name in group[1:]}
        return ids

    def to_dict(self) -> dict:
        """Give all of it as JSON can hold it."""
        total = max(sum(self.images.values()), 1)
        shares = {kind: round(self.counts.get(kind, 0) / total, 6) for kind in ("grey", "cmyk", "exif")}
        content = {"told" if name == "odd" else name: value for name, value in asdict(self).items()}
        return content | {"counts": self.counts, "shares": shares, "exit_code": self.exit_code}

    def lines(self) -> list[str]:
        """Write what people need: counts, and no more than `EXAMPLES` images of a kind."""
        lines = [f"{name}: {rows} rows" for name, rows in self.tables.items()]
        lines += [f"{self.landmarks} landmarks"] if self.landmarks else []
        lines += [f"{split}: {count} images readable" for split, count in self.images.items()]
        lines += [f"{split}: {count} images without a row" for split, count in self.without_row.items() if count]
        lines += [f"{self.junk} other files passed over"] if self.junk else []
        lines += [f"{count} members of TARs passed over: {reason}" for reason, count in self.skipped.items()]
        total = max(sum(self.images.values()) + len(self.bad), 1)
        for kind, count in self.counts.items():
            lines.append(f"{kind:13}{count:9} {count / total:7.2%}  {KINDS[kind]}")
            bad = [f"{x['split']} {x['id']}: {x['reason']}" for x in self.bad if x["kind"] == kind]
            odd = [f"{x['split']} {x['id']}: {x['detail']}" for x in self.odd.get(kind, ())]
            lines += _indented((bad + odd)[: EXAMPLES if bad else 3], count)
        for name in ("exact_duplicates", "near_duplicates", "label_conflicts"):
            groups = getattr(self, name)
            if groups:
                lines.append(f"{name.replace('_', ' ')}: {len(groups)} groups, {sum(map(len, groups))} images")
                lines += _indented(
                    [" = ".join(group[:4]) + " …" * (len(group) > 4) for group in groups[:3]], len(groups)
                )
        lines += self._leak_lines() + self.archive_notes + self.archive_errors + self.table_errors
        faults = f"{len(self.bad)} bad or missing images"
        faults += f", leaks: {len(self.leaks)}" if self.leaks else ""
        faults += f", faults of TARs: {len(self.archive_errors)}" if self.archive_errors else ""
        return lines + [("sound", faults, "not to be trusted")[self.exit_code]]

    def _leak_lines(self) -> list[str]:
        lines = []
        if self.random_split:
            lines.append(
                f"{self.random_split['pairs']} pairs of duplicates in train: a random dev set of {HELD_OUT:.0%} "
                f"would tear {self.random_split['torn']:.1f} of them apart; `landmark train` keeps each on one side"
            )
        if self.leaks:
            tests = len({leak["test"] for leak in self.leaks})
            exact = sum(leak["kind"] == "exact" for leak in self.leaks)
            lines.append(
                f"leaks: {exact} exact and {len(self.leaks) - exact} near pairs of a test image and one that is "
                f"trained on, {tests} test images"
            )
            pairs = [f"{leak['kind']}: test/{leak['test']} = {leak['learnt']}" for leak in self.leaks[:EXAMPLES]]
            lines += _indented(pairs, len(self.leaks))
        return lines


def _indented(examples: list[str], count: int) -> list[str]:
    more = [f"  … and {count - len(examples)} more (--json lists them all)"] if count > len(examples) else []
    return [f"  {example}" for example in examples] + more


@file_errors()
def check_data(root: str | Path, progress: bool = True) -> HealthReport:
    """Read every table and decode every image of a GLDv2 folder, loose or in TARs, damaged ones among them.

    train.csv is needed; the other tables may be absent. An interrupted check of many images goes on where it stopped.
    A test image that is the same as one in train or nonlandmark, byte for byte or nearly, is a leak: a network that
    learnt the one is not tested by the other, and the exit code is 1 even when nothing else is wrong.

    Raises:
        InputError: the folder does not exist.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    report = HealthReport(str(root))
    tables = _read_tables(report, root)
    inspections: dict[str, Inspection] = {}
    for split in SPLITS:
        if f"{split}.csv" in tables or (root / split).is_dir():
            store = ImageStore(root, split, progress, salvage=True)
            inspections[split] = inspect_split(store, progress)
            report.archive_errors += store.faults
            report.archive_notes += store.notes
            report.junk += store.junk
            for reason, count in store.skipped.items():
                report.skipped[reason] = report.skipped.get(reason, 0) + count
    rows = {split: _as_bytes(tables[f"{split}.csv"]) for split in SPLITS if f"{split}.csv" in tables}
    for split, inspection in inspections.items():
        _note_rows(report, split, rows, inspections)
        _note_images(report, split, inspection)
    if inspections:
        _note_duplicates(report, inspections, tables.get("train.csv"))
        _note_leaks(report, inspections)
    forget(root)
    return report


def _read_tables(report: HealthReport, root: Path) -> dict[str, pd.DataFrame]:
    readers = {
        "train.csv": read_train,
        "test.csv": read_test,
        "index.csv": read_test,
        "nonlandmark.csv": read_nonlandmark,
        "recognition_solution_v2.1.csv": read_solution,
        "train_label_to_category.csv": read_categories,
    }
    tables = {}
    for name, read in readers.items():
        if name == "train.csv" or (root / name).exists():
            try:
                tables[name] = read(root / name)
                report.tables[name] = len(tables[name])
            except TableError as error:
                report.table_errors.append(str(error))
    if {"test.csv", "recognition_solution_v2.1.csv"} <= tables.keys():
        extra = sorted(set(tables["recognition_solution_v2.1.csv"]["id"]) ^ set(tables["test.csv"]["id"]))
        if extra:
            report.table_errors.append(
                f"{root}: {len(extra)} ids are only in one of test.csv and the solution, such as {', '.join(extra[:3])}"
            )
    if "train.csv" in tables:
        report.landmarks = int(tables["train.csv"]["landmark_id"].nunique())
    return tables


def _as_bytes(table: pd.DataFrame) -> np.ndarray:
    """Convert ids of a table (N,) to fixed-width bytes: a quarter of the memory of Python's strings."""
    return np.array(table["id"].tolist(), "S")


def _note_rows(
    report: HealthReport, split: str, rows: dict[str, np.ndarray], inspections: dict[str, Inspection]
) -> None:
    """Note rows without an image, images without a row, and images that lie in another split than their row."""
    inspection = inspections[split]
    others = {name: ids for name, ids in rows.items() if name != split}
    if split in rows:
        absent = np.setdiff1d(rows[split], inspection.ids)
        places = {name: np.isin(absent, other.ids) for name, other in inspections.items() if name != split}
        for i, image_id in enumerate(absent):
            where = [name for name, inside in places.items() if inside[i]]
            reason = f"no such file (it lies under {where[0]}/)" if where else "no such file"
            report.bad.append({"split": split, "id": image_id.decode(), "reason": reason, "kind": "missing"})
        loose = inspection.ids[~np.isin(inspection.ids, rows[split])]
        report.without_row[split] = len(loose)
    else:
        loose = inspection.ids
    for name, ids in others.items():
        moved = loose[np.isin(loose, ids)]
        report.tell("wrong_split", split, moved.astype(str).tolist(), [f"its row is in {name}.csv"] * len(moved))


def _note_images(report: HealthReport, split: str, inspection: Inspection) -> None:
    for place, reason in sorted(inspection.reasons.items()):
        kind = "truncated" if "truncated" in reason else "unreadable"
        report.bad.append({"split": split, "id": inspection.ids[place].decode(), "reason": reason, "kind": kind})
    report.images[split] = len(inspection.ids) - len(inspection.reasons)
    records = inspection.records
    width, height, readable = records["width"], records["height"], records["readable"]
    kinds = {
        "wrong_format": (readable & (records["format"] != b"JPEG"), lambda r: r["format"].decode()),
        "exif": (records["orientation"] > 1, lambda r: f"orientation {r['orientation']}"),
        "grey": (records["grey"], lambda r: r["mode"].decode()),
        "cmyk": (records["mode"] == b"CMYK", lambda r: r["mode"].decode()),
        "tiny": (readable & (np.minimum(width, height) < TINY), lambda r: f"{r['width']}×{r['height']} pixels"),
        "constant": (records["constant"], lambda r: f"{r['width']}×{r['height']} pixels"),
    }
    for kind, (chosen, detail) in kinds.items():
        report.tell(kind, split, inspection.ids[chosen].astype(str).tolist(), map(detail, records[chosen]))


def _joined(inspections: dict[str, Inspection]) -> tuple[np.ndarray, Callable[[int], str]]:
    """Join the records of several splits; also returns what gives the "split/id" of a position."""
    splits = list(inspections)
    starts = np.cumsum([0, *(len(one.ids) for one in inspections.values())])

    def name(place: int) -> str:
        which = int(np.searchsorted(starts, place, "right")) - 1
        return f"{splits[which]}/{inspections[splits[which]].ids[place - starts[which]].decode()}"

    return np.concatenate([one.records for one in inspections.values()]), name


def _note_duplicates(report: HealthReport, inspections: dict[str, Inspection], train: pd.DataFrame | None) -> None:
    records, name = _joined(inspections)
    exact, near = duplicate_groups(records)
    report.exact_duplicates = [[*map(name, group)] for group in exact]
    report.near_duplicates = [[*map(name, group)] for group in near]
    groups = report.exact_duplicates + report.near_duplicates
    if train is not None:
        some = train[train["id"].isin({member.split("/")[1] for group in groups for member in group})]
        landmark = {f"train/{i}": k for i, k in zip(some["id"], some["landmark_id"], strict=True)}
        report.label_conflicts = [g for g in groups if len({landmark[x] for x in g if x in landmark}) > 1]
    pairs = sum(max(sum(member.startswith("train/") for member in group) - 1, 0) for group in groups)
    if pairs:  # counted as by `training.splits`: the first of a group with each of the others
        images = report.images["train"]
        torn = torn_at_random(pairs, images, round(HELD_OUT * images))
        report.random_split = {"pairs": pairs, "held_out": HELD_OUT, "torn": round(torn, 3)}


def _note_leaks(report: HealthReport, inspections: dict[str, Inspection]) -> None:
    """Note the pairs of a test image and one that is trained on, exact ones first."""
    test = inspections.get("test")
    learnt = {split: inspections[split] for split in LEARNT if split in inspections}
    if test is None or not learnt:
        return
    records, name = _joined(learnt)
    kinds = pairs_between(test.records, records)
    for kind, pairs in zip(("exact", "near"), kinds, strict=True):
        for asked, place in pairs.tolist():
            report.leaks.append({"kind": kind, "test": test.ids[asked].decode(), "learnt": name(place)})
