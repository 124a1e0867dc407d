"""`rescalefs download`: outputs of one job, as fast as the network gives them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from rescalefs.cli.connection import profile_option
from rescalefs.cli.ending import ended_by_signals
from rescalefs.cli.listing import json_option, printable
from rescalefs.cli.progress import byte_bar
from rescalefs.config import load_settings
from rescalefs.errors import RescaleFSError


@click.command()
@click.argument("job")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option(
    "--to", "target", required=True, metavar="DIR", help="The folder to put them in; - is standard output."
)
@click.option("--connections", metavar="N", help="How many requests at once; auto is 32.")
@profile_option
@json_option
def download(
    job: str,
    patterns: tuple[str, ...],
    target: str,
    connections: str | None,
    profile: str | None,
    as_json: bool,
) -> int:
    """Fetch outputs of JOB, many at once, verified.

    JOB is its id, and PATTERN as '*.vtk' chooses among its outputs. A file appears when it is complete and
    verified. What is there already is not fetched again, and an interrupted download goes on where it was.
    With `--to -`, the files go to standard output, one after the other.
    """
    from rescalefs.assembly.mirror import Download
    from rescalefs.mirror import Report

    if target == "-" and as_json:
        raise click.UsageError("--json and --to - both want standard output")
    settings = load_settings({"profile": profile, "connections": connections})

    def tell(act: str, path: str, detail: str) -> None:
        if act == "fail":
            click.echo(f"rescalefs: {printable(path)}: {printable(detail)}", err=True)

    report = Report(tell)
    with byte_bar() as bar:
        downloading = Download(settings, bar.advance)
        try:
            with ended_by_signals(downloading.stop) as asked:
                try:
                    chosen = downloading.choose(job, patterns)
                    bar.expect(job, sum(choice.node.file.size or 0 for choice in chosen))
                    if target == "-":
                        downloading.to_sink(chosen, _to_stdout, report)
                    else:
                        downloading.to_folder(chosen, Path(target), report)
                except RescaleFSError:
                    if not asked.is_set():
                        raise
                if asked.is_set():
                    raise click.Abort
        finally:
            downloading.close()
    record = {key: report.record()[key] for key in ("fetched", "bytes", "unchanged", "failed")}
    if as_json:
        click.echo(json.dumps(record))
    elif target != "-":
        fetched, there, failed = record["fetched"], record["unchanged"], record["failed"]
        files = "file" if fetched == 1 else "files"
        click.echo(f"{fetched} {files} fetched, {there} were there, {failed} failed", err=True)
    return int(report["fail"] > 0)


def _to_stdout(data: bytes | memoryview) -> None:
    sys.stdout.buffer.write(data)
