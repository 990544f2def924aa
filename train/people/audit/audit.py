"""`python -m train audit`: are a data set's answers true? Pairs judged sentence by sentence, by people and by checks.

Judgements go into one SQLite file (each durable at once, several annotators), and with --report into a folder with
report.md, rates.csv and marks.csv. Without --report and --auto the page is served until Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from facellm.errors import FaceLLMError
from facellm.server.ports import free_port
from train.outputs import usable_folder
from train.people.audit.items import read_items
from train.people.audit.judgements import AUTO, AuditStore, check_person
from train.people.audit.sample import draw

DB = "audit.sqlite3"  # in the data set's folder
PORT = 7870
HOST = "127.0.0.1"


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m train audit",
        description="Judge a sample of a data set's answers, sentence by sentence, on a page of its own; or write the "
        "report on what was judged.",
        epilog="The page: 1 supported, 2 not visible, 3 wrong, u undo, arrows move. Stop and go on whenever you like: "
        "every mark is stored at once.",
    )
    p.add_argument("dataset", type=Path, help="folder with dataset.json and its images, as `train dataset` writes it")
    p.add_argument("--sample", type=int, default=100, metavar="N", help="pairs to judge (default 100)")
    p.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
    p.add_argument("--labels", type=Path, help="CSV with file, age, gender, race, where the set has no jsonl/ folder")
    p.add_argument("--db", type=Path, help=f"file of the marks (default: {DB} in the data set's folder)")
    p.add_argument("--annotator", metavar="NAME", help="who judges (default: the page asks)")
    p.add_argument("--auto", action="store_true", help="check sentences against labels, measurements and pixels "
        "first; the page follows only where --annotator is given")  # fmt: skip
    p.add_argument("--measurements", type=Path, help="face-mesh CSV for --auto: file, yaw_deg, mouth_open and so on")
    p.add_argument("--report", type=Path, metavar="OUT", help="write the report into this folder instead of the page")
    p.add_argument("--host", default=HOST, help=f"address of the page (default {HOST}: this machine only)")
    p.add_argument("--port", type=int, help=f"port of the page (default {PORT}, or the next free one)")
    return p


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    store = AuditStore(args.db or _folder(args.dataset) / DB)
    if args.annotator is not None:
        args.annotator = check_person(args.annotator)
    if args.measurements and not args.auto:
        raise FaceLLMError("--measurements is for the automatic checks; give --auto too.")
    if args.port is not None and not 0 < args.port < 65536:
        raise FaceLLMError(f"{args.port} is not a port: give a number from 1 to 65535 with --port.")
    if args.sample < 1:
        raise FaceLLMError(f"--sample is {args.sample}; judge at least 1 pair.")
    if args.report:
        usable_folder(args.report, "--report")
    _begin(args, store)
    if args.auto:
        from train.people.audit.automatic import check

        marks = check(store.items(), args.measurements)
        store.forget(AUTO)
        store.mark_all(marks)
        wrong = sum(mark.mark == "wrong" for mark in marks)
        _say(f'{len(marks)} sentences are marked as "{AUTO}", {wrong} of them wrong.')
    if args.report:
        from train.people.audit.audit_report import write

        write(store, args.report)
        print((args.report / "report.md").read_text(encoding="utf-8"))
        _say(f"Written: {args.report / 'report.md'}, rates.csv, marks.csv and results.json.")
    elif not args.auto or args.annotator:
        _serve(args, store)
    return 0


def _folder(dataset: Path) -> Path:
    return dataset.parent if dataset.is_file() else dataset


def _begin(args: argparse.Namespace, store: AuditStore) -> None:
    """Draws the sample, or takes the one that the file holds."""
    if not args.dataset.exists():
        raise FaceLLMError(f"There is no data set {args.dataset}; give the folder that `train dataset` wrote.")
    read = read_items(args.dataset, args.labels)
    for line in read.left_out:
        _say(line)
    drawn = draw(read.items, args.sample, args.seed)
    if len(drawn) < args.sample:
        _say(f"The data set has {len(drawn)} pairs; all of them are judged.")
    store.begin(_folder(args.dataset).resolve().name, args.sample, args.seed, read, drawn)


def _serve(args: argparse.Namespace, store: AuditStore) -> None:
    from train.people.audit import page as audit_page
    from train.people.audit.session import Session

    port = free_port(args.host, args.port or PORT, fixed=args.port is not None)
    page = audit_page.build(Session(store), args.annotator, store.about()["source"])
    page.launch(**audit_page.launch_arguments(args.host, port))
    print(f"The audit is at http://{args.host}:{port} (marks: {store.path}); Ctrl-C ends it.", flush=True)
    page.block_thread()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
