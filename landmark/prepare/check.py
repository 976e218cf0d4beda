"""What `landmark check` says of a data folder: tables that can be trusted, images that cannot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from landmark.data.archives import ImageStore
from landmark.data.tables import read_categories, read_nonlandmark, read_solution, read_test, read_train
from landmark.prepare.duplicates import duplicate_groups
from landmark.prepare.inspection import Inspection, forget, inspect_split
from landmark.utils.errors import InputError, TableError, file_errors

SPLITS = ("train", "test", "index", "nonlandmark")
EXAMPLES = 20  # of each kind, for people
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
    """Counts, errors of tables, every bad or missing image by id with its reason, and what is odd but can be used."""

    root: str
    tables: dict[str, int] = field(default_factory=dict)  # rows by file
    table_errors: list[str] = field(default_factory=list)
    archive_errors: list[str] = field(default_factory=list)  # TARs that are damaged; what is left of them is inspected
    archive_notes: list[str] = field(default_factory=list)  # TARs that may not be whole
    landmarks: int = 0
    images: dict[str, int] = field(default_factory=dict)  # readable, by split
    bad: list[dict[str, str]] = field(default_factory=list)  # split, id, reason, kind
    told: dict[str, list[dict[str, str]]] = field(default_factory=dict)  # by kind: split, id, detail
    exact_duplicates: list[list[str]] = field(default_factory=list)  # groups of "split/id", the one to keep first
    near_duplicates: list[list[str]] = field(default_factory=list)
    label_conflicts: list[list[str]] = field(default_factory=list)  # duplicates with different landmark_ids
    without_row: dict[str, int] = field(default_factory=dict)
    junk: int = 0
    skipped: dict[str, int] = field(default_factory=dict)  # TAR members passed over, by reason

    @property
    def exit_code(self) -> int:
        """0 sound, 1 some images bad or missing, or a damaged TAR, 2 a table that cannot be trusted."""
        return 2 if self.table_errors else int(bool(self.bad or self.archive_errors))

    @property
    def counts(self) -> dict[str, int]:
        """Images by kind, bad ones and odd ones."""
        counts = {kind: len(found) for kind, found in self.told.items()}
        for item in self.bad:
            counts[item["kind"]] = counts.get(item["kind"], 0) + 1
        return {kind: counts[kind] for kind in KINDS if kind in counts}

    def tell(self, kind: str, split: str, ids: Iterable[str], details: Iterable[object]) -> None:
        """Note images of one of `KINDS`; suspects of a trained network may be noted as well."""
        found = [{"split": split, "id": i, "detail": str(d)} for i, d in zip(ids, details, strict=True)]
        if found:
            self.told.setdefault(kind, []).extend(found)

    def found(self) -> dict[str, set[str]]:
        """Ids by detector, named as in a miniature world's planted.csv: of duplicates, all but the one to keep."""
        ids = {kind: {item["id"] for item in found} for kind, found in self.told.items()}
        ids["unreadable"] = {item["id"] for item in self.bad if item["kind"] != "missing"}
        groups = self.exact_duplicates + self.near_duplicates
        ids["duplicate"] = {name.split("/")[1] for group in groups for name in group[1:]}
        return ids

    def to_dict(self) -> dict:
        """All of it, ready for JSON."""
        total = max(sum(self.images.values()), 1)
        shares = {kind: round(self.counts.get(kind, 0) / total, 6) for kind in ("grey", "cmyk", "exif")}
        return asdict(self) | {"counts": self.counts, "shares": shares, "exit_code": self.exit_code}

    def lines(self) -> list[str]:
        """What people need: counts, and no more than `EXAMPLES` images of a kind."""
        told = [f"{name}: {rows} rows" for name, rows in self.tables.items()]
        told += [f"{self.landmarks} landmarks"] if self.landmarks else []
        told += [f"{split}: {count} images readable" for split, count in self.images.items()]
        told += [f"{split}: {count} images without a row" for split, count in self.without_row.items() if count]
        told += [f"{self.junk} other files passed over"] if self.junk else []
        told += [f"{count} members of TARs passed over: {reason}" for reason, count in self.skipped.items()]
        total = max(sum(self.images.values()) + len(self.bad), 1)
        for kind, count in self.counts.items():
            told.append(f"{kind:13}{count:9} {count / total:7.2%}  {KINDS[kind]}")
            bad = [f"{x['split']} {x['id']}: {x['reason']}" for x in self.bad if x["kind"] == kind]
            odd = [f"{x['split']} {x['id']}: {x['detail']}" for x in self.told.get(kind, ())]
            told += _indented((bad + odd)[: EXAMPLES if bad else 3], count)
        for name in ("exact_duplicates", "near_duplicates", "label_conflicts"):
            groups = getattr(self, name)
            if groups:
                told.append(f"{name.replace('_', ' ')}: {len(groups)} groups, {sum(map(len, groups))} images")
                told += _indented(
                    [" = ".join(group[:4]) + " …" * (len(group) > 4) for group in groups[:3]], len(groups)
                )
        told += self.archive_notes + self.archive_errors + self.table_errors
        faults = f"{len(self.bad)} bad or missing images"
        faults += f", faults of TARs: {len(self.archive_errors)}" if self.archive_errors else ""
        return told + [("sound", faults, "not to be trusted")[self.exit_code]]


def _indented(examples: list[str], count: int) -> list[str]:
    more = [f"  … and {count - len(examples)} more (--json lists them all)"] if count > len(examples) else []
    return [f"  {example}" for example in examples] + more


@file_errors()
def check_data(root: str | Path, progress: bool = True) -> HealthReport:
    """Read every table and decode every image of a GLDv2 folder, loose or in TARs, damaged ones among them.

    train.csv is needed; the other tables may be absent. An interrupted check of many images goes on where it stopped.

    Raises:
        InputError: the folder does not exist.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    report = HealthReport(str(root))
    found = _read_tables(report, root)
    seen: dict[str, Inspection] = {}
    for split in SPLITS:
        if f"{split}.csv" in found or (root / split).is_dir():
            store = ImageStore(root, split, progress, salvage=True)
            seen[split] = inspect_split(store, progress)
            report.archive_errors += store.faults
            report.archive_notes += store.notes
            report.junk += store.junk
            for reason, count in store.skipped.items():
                report.skipped[reason] = report.skipped.get(reason, 0) + count
    rows = {split: _as_bytes(found[f"{split}.csv"]) for split in SPLITS if f"{split}.csv" in found}
    for split, inspection in seen.items():
        _tell_rows(report, split, inspection, rows, seen)
        _tell_images(report, split, inspection)
    _tell_duplicates(report, seen, found.get("train.csv"))
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
    found = {}
    for name, read in readers.items():
        if name == "train.csv" or (root / name).exists():
            try:
                found[name] = read(root / name)
                report.tables[name] = len(found[name])
            except TableError as error:
                report.table_errors.append(str(error))
    if {"test.csv", "recognition_solution_v2.1.csv"} <= found.keys():
        extra = sorted(set(found["recognition_solution_v2.1.csv"]["id"]) ^ set(found["test.csv"]["id"]))
        if extra:
            told = f"{len(extra)} ids are only in one of test.csv and the solution, such as {', '.join(extra[:3])}"
            report.table_errors.append(f"{root}: {told}")
    if "train.csv" in found:
        report.landmarks = int(found["train.csv"]["landmark_id"].nunique())
    return found


def _as_bytes(table: pd.DataFrame) -> np.ndarray:
    """Ids of a table (N,) as fixed-width bytes: a quarter of the memory of Python's strings."""
    return np.array(table["id"].tolist(), "S")


def _tell_rows(
    report: HealthReport, split: str, inspection: Inspection, rows: dict[str, np.ndarray], seen: dict[str, Inspection]
) -> None:
    """Rows without an image, images without a row, and images that lie in another split than their row."""
    others = {name: ids for name, ids in rows.items() if name != split}
    if split in rows:
        absent = np.setdiff1d(rows[split], inspection.ids)
        places = {name: np.isin(absent, seen[name].ids) for name in SPLITS if name != split and name in seen}
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


def _tell_images(report: HealthReport, split: str, inspection: Inspection) -> None:
    for place, reason in sorted(inspection.reasons.items()):
        kind = "truncated" if "truncated" in reason else "unreadable"
        report.bad.append({"split": split, "id": inspection.ids[place].decode(), "reason": reason, "kind": kind})
    report.images[split] = len(inspection.ids) - len(inspection.reasons)
    facts = inspection.facts
    width, height, readable = facts["width"], facts["height"], facts["readable"]
    kinds = {
        "wrong_format": (readable & (facts["format"] != b"JPEG"), lambda f: f["format"].decode()),
        "exif": (facts["orientation"] > 1, lambda f: f"orientation {f['orientation']}"),
        "grey": (facts["grey"], lambda f: f["mode"].decode()),
        "cmyk": (facts["mode"] == b"CMYK", lambda f: f["mode"].decode()),
        "tiny": (readable & (np.minimum(width, height) < TINY), lambda f: f"{f['width']}×{f['height']} pixels"),
        "constant": (facts["constant"], lambda f: f"{f['width']}×{f['height']} pixels"),
    }
    for kind, (chosen, detail) in kinds.items():
        report.tell(kind, split, inspection.ids[chosen].astype(str).tolist(), map(detail, facts[chosen]))


def _tell_duplicates(report: HealthReport, seen: dict[str, Inspection], train: pd.DataFrame | None) -> None:
    if not seen:
        return
    starts = np.cumsum([0, *(len(one.ids) for one in seen.values())])
    exact, near = duplicate_groups(np.concatenate([one.facts for one in seen.values()]))

    def name(place: int) -> str:
        which = int(np.searchsorted(starts, place, "right")) - 1
        split = list(seen)[which]
        return f"{split}/{seen[split].ids[place - starts[which]].decode()}"

    report.exact_duplicates = [[*map(name, group)] for group in exact]
    report.near_duplicates = [[*map(name, group)] for group in near]
    if train is not None:
        groups = report.exact_duplicates + report.near_duplicates
        some = train[train["id"].isin({member.split("/")[1] for group in groups for member in group})]
        landmark = {f"train/{i}": k for i, k in zip(some["id"], some["landmark_id"], strict=True)}
        report.label_conflicts = [g for g in groups if len({landmark[x] for x in g if x in landmark}) > 1]
