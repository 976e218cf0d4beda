"""What `landmark check` says of a data folder: tables that can be trusted, images that cannot."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tqdm import tqdm

from landmark import tables
from landmark.images import ImageError, image_files, image_path, read_image
from landmark.runtime import InputError


@dataclass
class HealthReport:
    """Counts, errors of tables, and every bad or missing image by id with its reason."""

    root: str
    tables: dict[str, int] = field(default_factory=dict)  # rows by file
    table_errors: list[str] = field(default_factory=list)
    landmarks: int = 0
    images: dict[str, int] = field(default_factory=dict)  # readable, by split
    bad: list[dict[str, str]] = field(default_factory=list)  # split, id, reason
    without_row: dict[str, int] = field(default_factory=dict)
    junk: int = 0

    @property
    def exit_code(self) -> int:
        """0 sound, 1 some images bad or missing, 2 a table that cannot be trusted."""
        return 2 if self.table_errors else int(bool(self.bad))

    def to_dict(self) -> dict:
        """All of it, ready for JSON."""
        return asdict(self) | {"exit_code": self.exit_code}

    def lines(self) -> list[str]:
        """All of it, for people."""
        told = [f"{name}: {rows} rows" for name, rows in self.tables.items()]
        told += [f"{self.landmarks} landmarks"] if self.landmarks else []
        told += [f"{split}: {count} images readable" for split, count in self.images.items()]
        told += [f"{split}: {count} images without a row" for split, count in self.without_row.items() if count]
        told += [f"{self.junk} other files passed over"] if self.junk else []
        told += [f"{item['split']} {item['id']}: {item['reason']}" for item in self.bad]
        told += self.table_errors
        return told + [("sound", f"{len(self.bad)} bad or missing images", "not to be trusted")[self.exit_code]]


def check_data(root: str | Path, progress: bool = True) -> HealthReport:
    """Read every table and decode every image of a GLDv2 folder. train.csv is needed; the other tables may be absent.

    Raises:
        InputError: the folder does not exist.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    report = HealthReport(str(root))
    readers = {
        "train.csv": tables.read_train,
        "test.csv": tables.read_test,
        "recognition_solution_v2.1.csv": tables.read_solution,
        "train_label_to_category.csv": tables.read_categories,
    }
    found = {}
    for name, read in readers.items():
        if name == "train.csv" or (root / name).exists():
            try:
                found[name] = read(root / name)
                report.tables[name] = len(found[name])
            except tables.TableError as error:
                report.table_errors.append(str(error))
    if {"test.csv", "recognition_solution_v2.1.csv"} <= found.keys():
        extra = sorted(set(found["recognition_solution_v2.1.csv"]["id"]) ^ set(found["test.csv"]["id"]))
        if extra:
            told = f"{len(extra)} ids are only in one of test.csv and the solution, such as {', '.join(extra[:3])}"
            report.table_errors.append(f"{root}: {told}")
    for split in ("train", "test"):
        table = found.get(f"{split}.csv")
        if table is None:
            continue
        if split == "train":
            report.landmarks = int(table["landmark_id"].nunique())
        files, junk = image_files(root, split)
        report.junk += junk
        report.without_row[split] = len(set(files) - set(table["id"]))
        _check_images(report, root, split, list(table["id"]), progress)
    return report


def _check_images(report: HealthReport, root: Path, split: str, ids: list[str], progress: bool) -> None:
    def reason(image_id: str) -> str | None:
        try:
            read_image(image_path(root, split, image_id))
        except ImageError as error:
            return error.reason
        return None

    with ThreadPoolExecutor() as pool:  # decoders let go of the interpreter
        told = list(
            tqdm(pool.map(reason, ids), total=len(ids), desc=f"check {split}", unit="img", disable=not progress)
        )
    bad = [{"split": split, "id": i, "reason": r} for i, r in zip(ids, told, strict=True) if r]
    report.bad += bad
    report.images[split] = len(ids) - len(bad)
