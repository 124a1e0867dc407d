"""`rescalefs download`: outputs of one job, as fast as the network gives them."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path

import click

from rescalefs.cli.connection import profile_option
from rescalefs.cli.ending import ended_by_signals
from rescalefs.cli.listing import json_option, printable
from rescalefs.cli.progress import byte_bar
from rescalefs.cli.waiting import waiting_shown
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
    if target == "-" and as_json:
        raise click.UsageError("--json and --to - both want standard output")
    from rescalefs.assembly.download import Download

    settings = load_settings({"profile": profile, "connections": connections})

    def tell(act: str, path: str, detail: str) -> None:
        if act == "fail":
            click.echo(f"rescalefs: {printable(path)}: {printable(detail)}", err=True)

    streamed = target == "-"
    with byte_bar() as bar:
        downloading = Download(settings, job, bar.advance)
        try:
            from rescalefs.mirror import Report  # now that the server has been asked

            report = Report(tell)
            # A write to a reader that reads no more ends at nothing but an exception.
            with ended_by_signals(downloading.stop, at_once=streamed) as ending:
                try:
                    with waiting_shown(downloading.server):
                        chosen = downloading.choose(patterns)
                    bar.expect(job, sum(choice.file.size or 0 for choice in chosen))
                    if streamed:
                        downloading.to_sink(chosen, _to_stdout)
                        return 0
                    downloading.to_folder(chosen, Path(target), report)
                except RescaleFSError:
                    if not ending.is_asked:
                        raise
                if ending.is_asked:
                    raise click.Abort
        finally:
            downloading.close()
    record = {key: report.record()[key] for key in ("fetched", "bytes", "unchanged", "failed")}
    if as_json:
        click.echo(json.dumps(record))
    else:
        fetched, there, failed = record["fetched"], record["unchanged"], record["failed"]
        files = "file" if fetched == 1 else "files"
        click.echo(f"{fetched} {files} fetched, {there} were there, {failed} failed", err=True)
    return int(report["fail"] > 0)


def _to_stdout(data: bytes) -> None:
    """Write past the buffer: what is in it when somebody ends us would still have to find a reader."""
    out = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
    left = memoryview(data)
    while left:
        written = out.write(left)
        if written is None:
            raise BlockingIOError(errno.EAGAIN, "standard output takes nothing just now")
        left = left[written:]
