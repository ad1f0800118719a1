"""`edged ca`: certificates for mTLS between sidecars, where there is no Sentry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from edge.durations import parse_go_duration

F = TypeVar("F", bound=Callable[..., Any])
DAY = 86400.0


def _dir(command: F) -> F:
    option = click.option("--dir", "folder", default="ca", show_default=True, type=click.Path(path_type=Path), help="Folder of the files.")
    return option(command)


def _life(default: str) -> Callable[[F], F]:
    return click.option("--valid", default=default, show_default=True, help="How long it counts: `90d`, `24h`.")


def _span(text: str) -> timedelta:
    try:
        seconds = float(text[:-1]) * DAY if text.endswith("d") else parse_go_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{text}: {error}", param_hint="--valid") from None
    return timedelta(seconds=seconds)


def _authority(folder: Path) -> Any:
    from edge.identity.ca import Authority  # cryptography, only for these commands

    return Authority(folder)


def _told(work: Callable[[], Any]) -> Any:
    from edge.identity.credentials import IdentityError

    try:
        return work()
    except (IdentityError, OSError) as error:
        raise click.ClickException(str(error)) from error


@click.group()
def ca() -> None:
    """Certificates for mTLS between sidecars, for a device or a fleet without Sentry.

    \b
      edged ca create --dir /etc/edged/ca --trust-domain farm.example
      edged ca issue pump --dir /etc/edged/ca
      DAPR_TRUST_ANCHORS=/etc/edged/ca edged run --app-id pump --enable-mtls …

    A device gets ca.crt, its apps' .crt and .key; issuer.key and ca.key stay where you issue. Where issuer.key lies too, sidecars issue
    and renew their own certificates.
    """


@ca.command()
@_dir
@click.option("--trust-domain", default="public", show_default=True, help="Trust domain of the identities.")
@_life("3650d")
def create(folder: Path, trust_domain: str, valid: str) -> None:
    """Make a root and an issuer."""
    _told(lambda: _authority(folder).create(trust_domain, life=_span(valid)))
    click.echo(f"{folder}/ca.crt is the trust anchor; keep {folder}/ca.key and {folder}/issuer.key to yourself")


@ca.command()
@click.argument("app_id")
@_dir
@click.option("--namespace", default="default", show_default=True, help="Namespace of the app.")
@click.option("--trust-domain", default="", help="Trust domain, if not the issuer's.")
@_life("90d")
def issue(app_id: str, folder: Path, namespace: str, trust_domain: str, valid: str) -> None:
    """Make a certificate for an app."""
    file = _told(lambda: _authority(folder).issue(app_id, namespace, trust_domain, life=_span(valid)))
    click.echo(f"{file} and {file.with_suffix('.key')}; with {folder}/ca.crt they are what the device needs")


@ca.command()
@click.argument("app_ids", nargs=-1)
@_dir
@_life("90d")
def renew(app_ids: Sequence[str], folder: Path, valid: str) -> None:
    """Renew certificates of apps, all by default; running sidecars take them up by themselves."""
    for file in _told(lambda: _authority(folder).renew(app_ids, life=_span(valid))):
        click.echo(str(file))


@ca.command()
@_dir
@click.option("--prepare", "step", flag_value="prepare", help="1: make a new root, trusted besides the old one.")
@click.option("--switch", "step", flag_value="switch", help="2: sign with it, renew all certificates.")
@click.option("--finish", "step", flag_value="finish", help="3: trust the old root no more.")
def rotate(folder: Path, step: str | None) -> None:
    """Exchange the root without losing a call: --prepare, bring ca.crt to every device; --switch, bring the certificates; --finish."""
    if step is None:
        raise click.UsageError("give a step: --prepare, --switch or --finish")
    _told(getattr(_authority(folder), step))
    said = {
        "prepare": "bring it to every device, then go on with --switch",
        "switch": "certificates are renewed: bring them to their devices, then go on with --finish",
        "finish": "the old root is trusted no more: bring it to every device",
    }
    click.echo(f"{folder}/ca.crt: {said[step]}")


@ca.command()
@_dir
def show(folder: Path) -> None:
    """List the certificates: whose, until when."""
    import time

    from edge.identity.ca import identity_of, validity

    def line(file: Path) -> str:
        until = time.strftime("%F", time.gmtime(validity(file.read_bytes())[1]))
        who = file.stem if file.stem in ("ca", "issuer", "root") else identity_of(file).url
        return f"{until}  {file.name:24} {who}"

    for text in _told(lambda: [line(file) for file in sorted(folder.glob("*.crt"))]):
        click.echo(text)
