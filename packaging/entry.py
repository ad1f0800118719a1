"""What the frozen executable runs: modules by a short way out of the archive in the executable, then the command line.

PyInstaller's finder opens the executable anew for each module and asks each entry of sys.path: a tenth of a start. With the file held
open, a daemon also imports what it needs later although an upgrade has put another executable in its place.
"""

import marshal
import os
import sys
import zlib
from importlib.machinery import ModuleSpec

import pyimod02_importers as frozen

ARCHIVE = frozen.pyz_archive
START = ARCHIVE._start_offset
FILE = os.open(ARCHIVE._filename, os.O_RDONLY | os.O_CLOEXEC)
MODULE, PACKAGE = 0, 1


class Loader(frozen.PyiFrozenLoader):
    """PyInstaller's, by the open file."""

    def get_code(self, fullname):
        _, offset, size = ARCHIVE.toc[self._pyz_entry_name]
        return marshal.loads(zlib.decompress(os.pread(FILE, size, START + offset)))

    def exec_module(self, module):
        exec(self.get_code(module.__name__), module.__dict__)


class Finder:
    """First in sys.meta_path: a name that stands in the archive is there; all others are left to the next finders."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        entry = ARCHIVE.toc.get(name)
        if entry is None or entry[0] not in (MODULE, PACKAGE) or (path and not str(next(iter(path), "")).startswith(sys._MEIPASS)):
            return None
        package = entry[0] == PACKAGE
        loader = Loader(name, ARCHIVE, name, package)
        spec = ModuleSpec(name, loader, origin=loader.path, is_package=package)
        spec.has_location = True
        if package:
            spec.submodule_search_locations = [loader.path.rpartition("/")[0]]
        return spec


sys.meta_path.insert(0, Finder)

from edge.cli.main import main  # noqa: E402

main()
