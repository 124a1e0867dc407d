"""`rescalefs schema`: what editors need to help with job.json."""

from __future__ import annotations

import click


@click.command()
def schema() -> None:
    """Print the JSON Schema of job.json, for editors.

    \b
    rescalefs schema > ~/Rescale/submit/job.schema.json
    and in job.json:  "$schema": "../job.schema.json"
    """
    from rescalefs.submit.schema import schema_text

    click.echo(schema_text(), nl=False)
