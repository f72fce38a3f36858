"""Fetch the pinned source packages (sources.json) with the ordinary package clients.

Every file's SHA-256 is checked before it is unpacked into WORK/raw/<package>. A file that is already
there with the right hash is not fetched again, so the step can be repeated and works offline after that.

    python fetch.py WORK
"""

import hashlib
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch(package, folder):
    """One package's archive, checked. Returns its path."""
    path = folder / package["file"]
    if not path.exists():
        name, version = package["name"], package["version"]
        command = (
            ["npm", "pack", "--silent", f"{name}@{version}"]
            if package["client"] == "npm"
            else ["apt-get", "download", "-qq", f"{name}={version}"]
        )
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    if not path.exists():
        raise SystemExit(f"Cannot fetch {package['name']}: the client did not write {package['file']}")
    found = sha256(path)
    if found != package["sha256"]:
        raise SystemExit(
            f"Cannot use {path}: SHA-256 {found}, expected {package['sha256']}; delete it and fetch again"
        )
    return path


def main(work):
    archives, raw = work / "archives", work / "raw"
    archives.mkdir(parents=True, exist_ok=True)
    for package in json.loads((HERE / "sources.json").read_text())["packages"]:
        path = fetch(package, archives)
        target = raw / package["name"].replace("@stdlib/", "")
        if not target.exists():
            target.mkdir(parents=True)
            command = ["tar", "xzf", str(path), "-C", str(target), "--strip-components=1"]
            if package["client"] == "apt":
                command = ["dpkg", "-x", str(path), str(target)]
            subprocess.run(command, check=True)
        print(f"{package['name']} {package['version']}: ok")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
