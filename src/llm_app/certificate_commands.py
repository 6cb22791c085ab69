"""`llm-app certificate …`: certificates of a closed network, for stations with security profile 2 or 3."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from llm_adapters.certificates.authority import Authority, CertificateError, Pair
from llm_app.doors import CERTIFICATES
from llm_app.faults import Failure

certificate_app = typer.Typer(help="Certificates of a closed network.", no_args_is_help=True)
Data = Annotated[Path, typer.Option("--data", help="The data directory.")]
Output = Annotated[Path, typer.Option("--output", help="The folder to write to.")]


@certificate_app.command("authority")
def authority(data: Data) -> None:
    """Print the certificate that stations have to trust, made where there is none yet."""
    root = _made(Authority(data / CERTIFICATES).make_root)
    sys.stdout.write(root.certificate.read_text("ascii"))


@certificate_app.command("station")
def station(station_id: str, data: Data, output: Output = Path()) -> None:
    """Make the certificate and the key by which one station proves its id (security profile 3); prints both paths."""
    pair = _made(lambda: Authority(data / CERTIFICATES).station(station_id, output))
    sys.stdout.write(f"{pair.certificate}\n{pair.key}\n")


def _made(make: Callable[[], Pair]) -> Pair:
    try:
        return make()
    except (CertificateError, OSError) as error:
        raise Failure(f"no certificate: {error}") from error
