"""`llm-app certificate …`: certificates of a closed network, for stations with security profile 2 or 3."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llm_app.faults import Failure, WrongInput

if TYPE_CHECKING:
    from llm_adapters.certificates.authority import Authority, Pair

certificate_app = typer.Typer(help="Certificates of a closed network.", no_args_is_help=True)
Data = Annotated[Path, typer.Option("--data", help="The data directory.")]
Output = Annotated[Path, typer.Option("--output", help="The folder to write to.")]


@certificate_app.command("authority")
def authority(data: Data) -> None:
    """Print the certificate that stations have to trust, made where there is none yet."""
    root = _made(lambda: _authority(data).make_root())
    sys.stdout.write(root.certificate.read_text("ascii"))


@certificate_app.command("station")
def station(station_id: str, data: Data, output: Output = Path()) -> None:
    """Make the certificate and the key by which one station proves its id (security profile 3); prints both paths."""
    from llm_adapters.certificates.authority import is_station_id

    if not is_station_id(station_id):
        raise WrongInput(f"“{station_id}” is no id of a station")
    pair = _made(lambda: _authority(data).station(station_id, output))
    sys.stdout.write(f"{pair.certificate}\n{pair.key}\n")


def _authority(data: Path) -> Authority:
    from llm_adapters.certificates.authority import Authority
    from llm_app.doors import CERTIFICATES

    return Authority(data / CERTIFICATES)


def _made(make: Callable[[], Pair]) -> Pair:
    from llm_adapters.certificates.authority import CertificateError

    try:
        return make()
    except CertificateError as error:
        raise Failure(f"no certificate: {error}") from error
    except OSError as error:
        raise Failure(f"no certificate: cannot write {error.filename}: {error.strerror}") from error
