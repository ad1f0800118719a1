"""A certificate authority of one's own, as files: for a device or a fleet without Sentry, which can also issue from the same folder.

ca.crt       trust anchors: the root, during a rotation the old and the new one
ca.key       the root's key; may be taken away, it is needed for a rotation only
issuer.crt   the intermediate that signs, and issuer.key (Sentry's --issuer-credentials reads these three)
<app>.crt    leaf and issuer of an app, and <app>.key
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.identity.credentials import IdentityError
from edge.identity.spiffe import Identity

SKEW = timedelta(minutes=15)
ROOT_LIFE, ISSUER_LIFE, LEAF_LIFE = timedelta(days=3650), timedelta(days=1825), timedelta(days=90)
NEW = ".new"
USAGES = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


class Authority:
    """The files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def anchors(self) -> Path:
        return self.folder / "ca.crt"

    # --- the authority itself
    def create(self, trust_domain: str, *, life: timedelta = ROOT_LIFE) -> None:
        """A root and an issuer. Raises IdentityError when there are some."""
        if self.anchors.exists():
            raise IdentityError(f"{self.anchors} exists already; use `edged ca rotate` for a new one")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._root("", trust_domain, life)
        self.anchors.write_bytes((self.folder / "root.crt").read_bytes())

    def _root(self, suffix: str, trust_domain: str, life: timedelta) -> None:
        """root.crt, ca.key, issuer.crt, issuer.key, each with that suffix."""
        key, name = ec.generate_private_key(ec.SECP256R1()), _name("edged root", trust_domain)
        root = _builder(name, name, key.public_key(), life).add_extension(_authority(1), critical=True)
        root = root.add_extension(_usage(authority=True), critical=True).add_extension(_own(key.public_key()), critical=False)
        made = root.sign(key, SHA256())
        issuer_key = ec.generate_private_key(ec.SECP256R1())
        issuer = _builder(_name("edged issuer", trust_domain), name, issuer_key.public_key(), min(life, ISSUER_LIFE))
        issuer = issuer.add_extension(_authority(0), critical=True).add_extension(_usage(authority=True), critical=True)
        issuer = issuer.add_extension(_own(issuer_key.public_key()), critical=False).add_extension(_signed_by(made), critical=False)
        sans = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")])
        signed = issuer.add_extension(sans, critical=False).sign(key, SHA256())
        _write(self.folder / f"root.crt{suffix}", _pem(made))
        _write(self.folder / f"ca.key{suffix}", _key_pem(key), secret=True)
        _write(self.folder / f"issuer.crt{suffix}", _pem(signed))
        _write(self.folder / f"issuer.key{suffix}", _key_pem(issuer_key), secret=True)

    # --- apps
    def issue(self, app_id: str, namespace: str = "default", trust_domain: str = "", *, life: timedelta = LEAF_LIFE) -> Path:
        """Certificate and key of an app; an existing key is kept. The path of the certificate. Raises IdentityError."""
        issuer, issuer_key = self._issuer()
        domain = trust_domain or self.trust_domain()
        key_file = self.folder / f"{app_id}.key"
        key = _load_key(key_file) if key_file.exists() else ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(Identity(domain, namespace, app_id).url)])
        until = min(datetime.now(UTC) + life, issuer.not_valid_after_utc)
        leaf = _builder(_name(app_id, domain), issuer.subject, key.public_key(), until - datetime.now(UTC))
        leaf = leaf.add_extension(x509.BasicConstraints(False, None), critical=True).add_extension(_usage(authority=False), critical=True)
        leaf = leaf.add_extension(x509.ExtendedKeyUsage(USAGES), critical=False).add_extension(names, critical=False)
        leaf = leaf.add_extension(_own(key.public_key()), critical=False).add_extension(_signed_by(issuer), critical=False)
        _write(key_file, _key_pem(key), secret=True)
        file = self.folder / f"{app_id}.crt"
        _write(file, _pem(leaf.sign(issuer_key, SHA256())) + _pem(issuer))
        return file

    def renew(self, app_ids: Sequence[str] = (), *, life: timedelta = LEAF_LIFE) -> list[Path]:
        """New certificates for these apps (all that have one), with their identities and keys. Raises IdentityError."""
        found = list(app_ids) or [file.stem for file in sorted(self.folder.glob("*.crt")) if file.stem not in ("ca", "issuer", "root")]
        renewed = []
        for app_id in found:
            identity = identity_of(self.folder / f"{app_id}.crt")
            renewed.append(self.issue(app_id, identity.namespace, identity.trust_domain, life=life))
        return renewed

    # --- a new root, with no call lost: everyone trusts both before anyone shows a certificate of the new one
    def prepare(self, *, life: timedelta = ROOT_LIFE) -> None:
        """Step 1: a new root is trusted besides the old one; certificates stay."""
        if (self.folder / f"root.crt{NEW}").exists():
            raise IdentityError(f"a rotation is under way in {self.folder}: go on with `edged ca rotate --switch`")
        self._issuer()
        self._root(NEW, self.trust_domain(), life)
        both = (self.folder / "root.crt").read_bytes() + (self.folder / f"root.crt{NEW}").read_bytes()
        _write(self.anchors, both)

    def switch(self) -> list[Path]:
        """Step 2, when every device has the new ca.crt: the new issuer signs, all certificates are renewed."""
        if not (self.folder / f"root.crt{NEW}").exists():
            raise IdentityError(f"no rotation is under way in {self.folder}: begin with `edged ca rotate --prepare`")
        for name in ("ca.key", "issuer.key", "issuer.crt", "root.crt"):
            (self.folder / f"{name}{NEW}").replace(self.folder / name)
        return self.renew()

    def finish(self) -> None:
        """Step 3, when every app has its new certificate: the old root is trusted no more. Raises IdentityError."""
        root = x509.load_pem_x509_certificate((self.folder / "root.crt").read_bytes())
        for file in self.folder.glob("*.crt"):
            chain = x509.load_pem_x509_certificates(file.read_bytes())
            if file.stem not in ("ca", "root", "issuer") and not _vouches(root, chain[-1]):
                raise IdentityError(f"{file} is still signed by the old root: `edged ca renew {file.stem}` first")
        _write(self.anchors, (self.folder / "root.crt").read_bytes())

    def trust_domain(self) -> str:
        """Of the issuer."""
        issuer, _ = self._issuer()
        names = issuer.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return next(iter(names.get_values_for_type(x509.UniformResourceIdentifier)), "spiffe://public").removeprefix("spiffe://")

    def _issuer(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        path = self.folder / "issuer.crt"
        try:
            return x509.load_pem_x509_certificate(path.read_bytes()), _load_key(self.folder / "issuer.key")
        except (OSError, ValueError) as error:
            raise IdentityError(f"no issuer in {self.folder}: {error}; make one with `edged ca create --dir {self.folder}`") from None


def identity_of(file: Path) -> Identity:
    """Whose certificate that is. Raises IdentityError."""
    try:
        return identity_in(file.read_bytes(), str(file))
    except OSError as error:
        raise IdentityError(f"{file} is no certificate of an app: {error.strerror}") from None


def identity_in(pem: bytes, file: str = "the certificate") -> Identity:
    """Whose certificate that text is. Raises IdentityError."""
    try:
        leaf = x509.load_pem_x509_certificate(pem)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as error:
        raise IdentityError(f"{file} is no certificate of an app: {error}") from None
    for url in names.get_values_for_type(x509.UniformResourceIdentifier):
        if (identity := Identity.parse(url)) is not None:
            return identity
    raise IdentityError(f"{file} is no certificate of an app: it names no spiffe://<trust domain>/ns/<namespace>/<app id>")


def validity(pem: bytes) -> tuple[float, float]:
    """From when until when a leaf counts, epoch seconds."""
    leaf = x509.load_pem_x509_certificate(pem)
    return leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()


def request(app_id: str) -> tuple[bytes, str]:
    """A signing request and the new key that it is for, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
    return made.public_bytes(Encoding.PEM), _key_pem(key).decode()


def _vouches(root: x509.Certificate, signed: x509.Certificate) -> bool:
    try:
        signed.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, life: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
    return made.serial_number(x509.random_serial_number()).not_valid_before(now - SKEW).not_valid_after(now + life)


def _name(common: str, organization: str) -> x509.Name:
    pairs = ((NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, common[:64]))
    return x509.Name([x509.NameAttribute(kind, text) for kind, text in pairs])


def _authority(depth: int) -> x509.BasicConstraints:
    return x509.BasicConstraints(True, depth)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(not authority, False, False, False, not authority, authority, authority, False, False)


def _own(public: ec.EllipticCurvePublicKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(public)


def _signed_by(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load_key(file: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(file.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise IdentityError(f"{file} is no elliptic curve key")
    return key


def _write(file: Path, data: bytes, *, secret: bool = False) -> None:
    """Complete or not at all; a key is readable by its owner only."""
    new = file.with_name(f"{file.name}.tmp")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if secret else 0o644)
    with os.fdopen(handle, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
