#!/usr/bin/env python3
"""Proves that the fuzz targets are worth their time, by their stored corpora alone.

For each target: (1) its corpus reaches at least 80 % of the lines of its parser; (2) it finds a bug planted for the
purpose, test/fuzz/planted/TARGET.patch, in a copy of the sources built with ASan and UBSan. A bug that the corpus alone
does not find is searched for a while; one that is not found then fails. Needs clang, llvm, cmake and ninja.

usage: fuzz-proof.py [--compiler CLANG] [--search SECONDS] [TARGET...]
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

# What a target is there for: the files that turn its bytes into values.
PARSERS = {
    "backup_meta": ["src/repo/backup_meta_parse.c"],
    "backup_notes": ["src/repo/backup_notes_parse.c", "src/repo/backup_annotations.c"],
    "certificate": ["src/tls/certificate.c"],
    "control": ["src/control/request.c", "src/control/progress.c"],
    "drill": ["src/jobs/drill/control_file.c", "src/jobs/drill/recovery_log.c"],
    "error_response": ["src/pg/error_response.c"],
    "history": ["src/wal/history.c"],
    "http": ["src/jobs/exporter/http.c"],
    "index": ["src/repo/index_parse.c", "src/repo/index_reader.c"],
    "ini": ["src/config/ini.c", "src/config/setting_shapes.c", "src/config/config_rules.c"],
    "log": ["src/base/log_record.c"],
    "manifest": ["src/pg/manifest.c"],
    "negotiate": ["src/pg/startup_message.c"],
    "on_behalf": ["src/daemon/caller_remote.c"],
    "startup_answer": ["src/tls/answer.c"],
    "sync_names": ["src/pg/sync_names.c"],
    "tar": ["src/stage/tar_copy.c", "src/stage/tar_path.c"],
    "wal_contents": ["src/wal/contents.c"],
    "wal_expired": ["src/repo/wal_expired.c"],
    "wal_message": ["src/pg/copy_message.c"],
    "wal_record": ["src/wal/record.c", "src/wal/record_page.c", "src/wal/record_layout.c"],
}
LEAST_PERCENT = 80
ROOT = pathlib.Path(__file__).resolve().parents[2]
COPIED = ["CMakeLists.txt", "cmake", "contrib/packaging", "include", "src", "test/fuzz", "test/support"]
# A bug that is found ends the process by one of these words, not by any exit code.
FOUND = re.compile(r"ERROR: (AddressSanitizer|LeakSanitizer|libFuzzer)|runtime error:")


def run(*command, **rest):
    return subprocess.run([str(word) for word in command], text=True, errors="replace", capture_output=True, **rest)


def must(*command, **rest):
    done = run(*command, **rest)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done


def llvm(name, compiler):
    """llvm-cov of the compiler's own version, or the default one."""
    version = re.search(r"version (\d+)", must(compiler, "--version").stdout)[1]
    return shutil.which(f"{name}-{version}") or shutil.which(name) or sys.exit(f"{name} is missing: apt-get install llvm")


class Proof:
    def __init__(self, scratch, compiler, search_seconds):
        self.scratch, self.search_seconds = scratch, search_seconds
        self.source, self.build = scratch / "source", scratch / "build"
        self.profdata, self.cov = llvm("llvm-profdata", compiler), llvm("llvm-cov", compiler)
        for name in COPIED:
            (self.source / name).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, self.source / name)
        must("cmake", "-G", "Ninja", "-S", self.source, "-B", self.build, f"-DCMAKE_C_COMPILER={compiler}",
             "-DCMAKE_BUILD_TYPE=Debug", "-DFUZZ=ON", "-DCOVERAGE=ON")

    def build_target(self, target):
        must("cmake", "--build", self.build, "--target", f"fuzz_{target}")

    def fuzz(self, target, *options, profile=os.devnull):
        corpus = self.source / "test/fuzz/corpus" / target
        return run(self.build / f"fuzz_{target}", "-timeout=10", "-max_len=65536", *options, corpus,
                   cwd=self.scratch, env={**os.environ, "LLVM_PROFILE_FILE": str(profile)})

    def covered(self, target):
        """Percent of the parser's lines that the stored corpus reaches, and the same by file."""
        raw, merged = self.scratch / f"{target}.profraw", self.scratch / f"{target}.profdata"
        done = self.fuzz(target, "-runs=0", profile=raw)
        if done.returncode != 0:
            sys.exit(f"{target}: its own corpus makes it fail\n{done.stderr[-4000:]}")
        must(self.profdata, "merge", "-sparse", raw, "-o", merged)
        export = must(self.cov, "export", "-summary-only", f"-instr-profile={merged}", self.build / f"fuzz_{target}")
        summaries = {entry["filename"]: entry["summary"]["lines"] for entry in json.loads(export.stdout)["data"][0]["files"]}
        lines = {name: summaries[str(self.source / name)] for name in PARSERS[target]}
        total, reached = (sum(entry[key] for entry in lines.values()) for key in ("count", "covered"))
        return 100 * reached / total, {name: entry["percent"] for name, entry in lines.items()}

    def apply(self, patch, *options):
        done = run("git", "apply", *options, patch, cwd=self.source)
        # A file gets back its old content with a new time, so that it is compiled again.
        for name in re.findall(r"^\+\+\+ b/(\S+)", patch.read_text(), re.M):
            os.utime(self.source / name)
        return done

    def finds_planted_bug(self, target):
        """(how it was found, the first words of the report), or None and why not."""
        patch = ROOT / "test/fuzz/planted" / f"{target}.patch"
        done = self.apply(patch)
        if done.returncode != 0:
            return None, f"{patch.name} does not fit the sources any more: {done.stderr.strip()}"
        try:
            self.build_target(target)
            report, how = self.fuzz(target, "-runs=0").stderr, "by the stored corpus"
            if not FOUND.search(report):
                found = self.scratch / f"found-{target}"
                found.mkdir()
                report = self.fuzz(target, f"-max_total_time={self.search_seconds}", found).stderr
                how = "by searching"
        finally:
            self.apply(patch, "-R")
        word = re.search(r"(?:ERROR: |runtime error: ).*", report)
        return (how, word[0]) if FOUND.search(report) else (None, f"not found in {self.search_seconds} s of searching")


def describe(patch):
    """What stands above the first line of the patch."""
    return " ".join(patch.read_text().split("\n--- ")[0].split("\ndiff ")[0].split())


def check_table():
    targets = {path.stem.removeprefix("fuzz_") for path in (ROOT / "test/fuzz").glob("fuzz_*.c")}
    patches = {path.stem for path in (ROOT / "test/fuzz/planted").glob("*.patch")}
    if targets != set(PARSERS) or targets != patches:
        sys.exit(f"targets, table and planted bugs differ: {sorted(targets ^ set(PARSERS) | targets ^ patches)}")


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--compiler", default="clang")
    options.add_argument("--search", type=int, default=60)
    options.add_argument("targets", nargs="*", metavar="TARGET", choices=[*PARSERS, []])
    options = options.parse_args()
    if not options.targets:
        check_table()
    failures = []
    with tempfile.TemporaryDirectory(prefix="pgcoffer-fuzz-") as scratch:
        proof = Proof(pathlib.Path(scratch), options.compiler, options.search)
        for target in options.targets or PARSERS:
            proof.build_target(target)
            percent, files = proof.covered(target)
            parts = ", ".join(f"{pathlib.Path(name).name} {part:.0f} %" for name, part in files.items())
            print(f"{target}: {percent:.1f} % of its parser's lines ({parts})")
            if percent < LEAST_PERCENT:
                failures.append(f"{target}: its corpus reaches less than {LEAST_PERCENT} %")
            how, words = proof.finds_planted_bug(target)
            print(f"    planted: {describe(ROOT / 'test/fuzz/planted' / f'{target}.patch')}")
            print(f"    {f'found {how}' if how else 'NOT FOUND'}: {words}", flush=True)
            if how is None:
                failures.append(f"{target}: the planted bug was not found")
    print("\n".join(failures) or "every corpus reaches its parser and finds the planted bug")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
