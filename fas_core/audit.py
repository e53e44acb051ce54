"""What is installed, compared with a table of known holes: `make audit`, or `python -m fas_core.audit`. No network is used.

The table, advisories.json, is of the date that it says; docs/security.md tells how it is renewed.
"""

import sys
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from fas_core.errors import FASError, reports_errors
from fas_core.model_files import read_object

TABLE = Path(__file__).with_name("advisories.json")
OLD = 90  # days


@dataclass(frozen=True)
class Advisory:
    """A known hole of a package.

    Attributes:
        package: its canonical name. id: CVE, GHSA or PYSEC, one or several. affected: versions, as pip writes ranges.
        fixed: first version without it; None where there was none when the table was made. what: what it lets others do.
        accepted: why it does not matter here, if it does not.
    """

    package: str
    id: str
    affected: str
    fixed: str | None
    what: str = ""
    accepted: str = ""

    def affects(self, version: str) -> bool:
        return SpecifierSet(self.affected).contains(Version(version), prereleases=True)

    def describe(self, version: str) -> str:
        more = f" ({self.what})" if self.what else ""
        hint = f"fixed in {self.fixed}" if self.fixed else "no fixed version was known"
        return f"{self.package} {version}: {self.id}{more}, {hint}" + (
            f"; accepted: {self.accepted}" if self.accepted else ""
        )


def read_table(path: Path = TABLE) -> tuple[date, list[Advisory]]:
    """The table's date and its entries; raises FASError where it is not of that form."""
    content = read_object(path)
    try:
        day, entries = date.fromisoformat(content["date"]), [Advisory(**entry) for entry in content["advisories"]]
        for entry in entries:
            SpecifierSet(entry.affected)
    except (KeyError, TypeError, ValueError, InvalidSpecifier) as error:
        raise FASError(
            f"{path}: not a table of advisories ({error}); expected date and advisories, see docs/security.md"
        ) from None
    return day, entries


def installed() -> dict[str, str]:
    """Canonical name -> version of every package of this environment."""
    return {canonicalize_name(d.metadata["Name"]): d.version for d in metadata.distributions() if d.metadata["Name"]}


def matches(packages: dict[str, str], entries: list[Advisory]) -> list[tuple[Advisory, str]]:
    """The advisories that hold for these packages, each with the version found."""
    found = []
    for entry in entries:
        version = packages.get(canonicalize_name(entry.package))
        try:
            if version is not None and entry.affects(version):
                found.append((entry, version))
        except InvalidVersion:
            found.append((entry, version))  # a version that cannot be compared is not known to be safe
    return found


@reports_errors
def main(today: date | None = None, path: Path = TABLE) -> int:
    day, entries = read_table(path)
    packages = installed()
    found = matches(packages, entries)
    open_holes = [pair for pair in found if not pair[0].accepted]
    for entry, version in found:
        print(f"{'note' if entry.accepted else 'FOUND'}: {entry.describe(version)}")
    print(f"{len(packages)} packages, {len(entries)} advisories known on {day}: {len(open_holes)} found")
    age = ((today or date.today()) - day).days
    if age > OLD:
        print(f"the table is {age} days old; docs/security.md tells how to renew it", file=sys.stderr)
    return 1 if open_holes else 0


if __name__ == "__main__":
    sys.exit(main())
