"""The certificates of a closed network: an authority of this controller, its own certificate, and those of stations.

Everything lies in one folder, readable by its owner only. What is there and still good is kept: stations have been
told to trust this authority, so it is made once. The server's certificate is made anew when the names of this machine
change or its end comes near. Made by the `openssl` program (ADR 7), with RSA keys of 2048 bits, which old stations
know as well.
"""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

import attrs

AUTHORITY_DAYS = 3650  # not beyond 2037, which some stations cannot count to
DAYS = 825
RENEWED_S = 60 * 86_400  # so long before its end
LONGEST_NAME = 64  # of a common name (X.509)
RUN_S = 60.0
LEAST_RSA_BITS, LEAST_CURVE_BITS = 2048, 256


class CertificateError(Exception):
    """No certificate could be made; the text says why."""


@attrs.frozen
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """The certificates in `folder`, which is made when something is put into it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def root(self) -> Pair:
        """What stations have to trust (only the certificate)."""
        return Pair(self._folder / "authority.crt", self._folder / "authority.key")

    def make_root(self) -> Pair:
        """The authority, made where there is none yet."""
        root = self.root
        if not (root.certificate.exists() and root.key.exists()):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            subject = "/CN=Local Load Manager authority"
            with _making(root) as made:
                _openssl(
                    *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", str(AUTHORITY_DAYS)),
                    *("-subj", subject, "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
                    *("-keyout", str(made.key), "-out", str(made.certificate)),
                )
        return root

    def server(self, names: Iterable[str]) -> Pair:
        """A certificate for this machine under each of its names and addresses, kept while it is good for them."""
        wanted = sorted({name for name in names if _is_name(name)}) or ["localhost"]
        pair = Pair(self._folder / "server.crt", self._folder / "server.key")
        root = self.make_root()
        if not (pair.certificate.exists() and pair.key.exists()) or not _is_good(pair.certificate, wanted):
            alternatives = ",".join(f"{'IP' if _is_address(name) else 'DNS'}:{name}" for name in wanted)
            common = next((name for name in wanted if not _is_address(name)), wanted[0])
            _sign(pair, root, common[:LONGEST_NAME], f"extendedKeyUsage=serverAuth\nsubjectAltName={alternatives}\n")
        return pair

    def station(self, station_id: str, folder: Path) -> Pair:
        """A new certificate by which a station proves its id (security profile 3), in `folder`."""
        if not is_station_id(station_id):
            raise CertificateError(f"“{station_id}” is no id of a station")
        folder.mkdir(parents=True, exist_ok=True)
        name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in station_id)
        pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
        _sign(pair, self.make_root(), station_id, "extendedKeyUsage=clientAuth\n")
        return pair

    def certify(self, station_id: str, request: str) -> str:
        """A certificate (PEM) for the key in a station's own `request` (PEM): of all it asks for, it gets its id only.

        Raises `CertificateError` where the request is none, is not signed by its own key, or that key is weak.
        """
        with tempfile.TemporaryDirectory() as folder:
            asked, public, ours, signed = (Path(folder, name) for name in ("asked", "public", "request", "crt"))
            asked.write_text(request, encoding="utf-8")
            if "verify OK" not in _run("req", "-in", str(asked), "-noout", "-verify").stderr:
                raise CertificateError("the request is not signed by its own key")
            public.write_text(_openssl("req", "-in", str(asked), "-noout", "-pubkey"), encoding="utf-8")
            _refuse_weak(_openssl("pkey", "-pubin", "-in", str(public), "-noout", "-text"))
            _request(ours, Path(folder, "key"), station_id, "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
            wishes = ("-force_pubkey", str(public))
            _certify(signed, ours, self.make_root(), "extendedKeyUsage=clientAuth\n", *wishes)
            return signed.read_text("ascii")


def is_station_id(text: str) -> bool:
    """Whether a certificate can say this as a station's id."""
    return 1 <= len(text) <= LONGEST_NAME and text.isprintable()


def _refuse_weak(told: str) -> None:
    """Told of a public key as openssl describes it."""
    bits = re.search(r"Public-Key: \((\d+) bit", told)
    least = LEAST_RSA_BITS if "Modulus" in told else LEAST_CURVE_BITS
    if bits is None or int(bits[1]) < least:
        raise CertificateError("the key is of another kind than RSA with 2048 bits, or a curve with 256")


def _request(request: Path, key: Path, common_name: str, *kind: str) -> None:
    """A request in this name, and a new key for it."""
    subject = "/CN=" + "".join(f"\\{letter}" if letter in "/\\+" else letter for letter in common_name)
    _openssl(
        *("req", "-new", "-newkey", *kind, "-nodes", "-utf8", "-subj", subject),
        *("-keyout", str(key), "-out", str(request)),
    )


def _certify(certificate: Path, request: Path, root: Pair, extensions: str, *more: str) -> None:
    wishes = certificate.with_name("wishes")
    always = "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature,keyEncipherment\n"
    wishes.write_text(always + extensions, encoding="utf-8")
    _openssl(
        *("x509", "-req", "-sha256", "-days", str(DAYS), "-in", str(request), "-extfile", str(wishes)),
        *("-CA", str(root.certificate), "-CAkey", str(root.key), "-set_serial", str(time.time_ns())),
        *("-out", str(certificate), *more),
    )


def _sign(pair: Pair, root: Pair, common_name: str, extensions: str) -> None:
    with _making(pair) as made:
        request = made.key.with_name("request")
        _request(request, made.key, common_name, "rsa:2048")
        _certify(made.certificate, request, root, extensions)


class _making:
    """A pair made beside its place and then put there, so that half of one never lies around."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair

    def __enter__(self) -> Pair:
        self._beside = Path(tempfile.mkdtemp(prefix=".making-", dir=self._pair.key.parent))
        return Pair(self._beside / "crt", self._beside / "key")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            made = Pair(self._beside / "crt", self._beside / "key")
            made.key.chmod(0o600)
            made.key.replace(self._pair.key)
            made.certificate.replace(self._pair.certificate)
        shutil.rmtree(self._beside, ignore_errors=True)


def _is_good(certificate: Path, names: list[str]) -> bool:
    """Whether it names them all and no other, and its end is far enough."""
    try:
        told = _openssl("x509", "-in", str(certificate), "-noout", "-enddate", "-ext", "subjectAltName")
        end = next(line.partition("=")[2] for line in told.splitlines() if line.startswith("notAfter="))
        certified = {part.strip() for line in told.splitlines() for part in line.split(",") if ":" in part}
        expected = {f"IP Address:{_spelled(name)}" if _is_address(name) else f"DNS:{name}" for name in names}
        return expected <= certified and ssl.cert_time_to_seconds(end) - time.time() > RENEWED_S
    except (CertificateError, StopIteration, ValueError):
        return False


def _spelled(address: str) -> str:
    """An address as openssl shows it."""
    parsed = ip_address(address)
    return address if parsed.version == 4 else ":".join(f"{int(part, 16):X}" for part in parsed.exploded.split(":"))


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_name(name: str) -> bool:
    return 0 < len(name) < 254 and name.isascii() and not set(name) & set(' ,\n\r"\\%')


def _openssl(*arguments: str) -> str:
    return _run(*arguments).stdout


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ("openssl", *arguments),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=RUN_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise CertificateError("the program openssl is missing; install it, or give certificates of your own") from None
    except subprocess.TimeoutExpired:
        raise CertificateError("openssl did not finish") from None
    except subprocess.CalledProcessError as error:
        raise CertificateError(f"openssl: {error.stderr.strip()[-300:]}") from None
