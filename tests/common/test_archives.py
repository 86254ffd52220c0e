import io
import tarfile
import time
import zipfile

import pytest

from common import archives
from common.archives import extract
from common.errors import UserError


def make_zip(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in members:
            bundle.writestr(name, content)
    return path


def make_tar(path, *members):
    with tarfile.open(path, "w:gz") as bundle:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            bundle.addfile(entry, io.BytesIO(content))
    return path


MAKERS = pytest.mark.parametrize(("make", "file"), [(make_zip, "a.zip"), (make_tar, "a.tar.gz")])


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def assert_refused(archive, message):
    """Extraction fails with `message` naming the archive, and leaves nothing but the archive behind."""
    room = archive.parent
    with pytest.raises(UserError, match=f"{archive.name}: .*{message}"):
        extract(archive, room / "inner" / "out", suffixes=("",))
    assert files_below(room) == [archive.name]


@MAKERS
def test_wanted_members_are_unpacked(tmp_path, make, file):
    archive = make(tmp_path / file, ("c/1.bin", b"one"), ("c/readme.txt", b"no"), ("__MACOSX/c/._1.bin", b"no"))
    assert files_below(extract(archive, tmp_path / "out", suffixes=(".bin",))) == ["c/1.bin"]


@MAKERS
def test_what_was_unpacked_before_is_not_unpacked_again(tmp_path, make, file):
    (tmp_path / "out").mkdir()
    archive = make(tmp_path / file, ("1.bin", b"one"))
    assert files_below(extract(archive, tmp_path / "out", suffixes=(".bin",))) == []


@MAKERS
@pytest.mark.parametrize("name", ["../evil.bin", "a/../../evil.bin", "/tmp/evil.bin", "..\\evil.bin", "C:\\evil.bin"])
def test_names_that_lead_outside_are_refused(tmp_path, make, file, name):
    assert_refused(make(tmp_path / file, ("good.bin", b""), (name, b"evil")), "points outside the archive; refused")


@MAKERS
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_occur_twice_are_refused(tmp_path, make, file):
    assert_refused(make(tmp_path / file, ("a/1.bin", b"1"), ("a/./1.bin", b"2")), "occurs twice; refused")


@MAKERS
def test_absurd_expansion_is_refused(tmp_path, make, file, monkeypatch):
    monkeypatch.setattr(archives, "_SMALL", 1000)
    archive = make(tmp_path / file, ("bomb.bin", bytes(1_000_000)))
    assert_refused(archive, "'bomb.bin' expands the content to over [0-9]+ bytes; refused")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as bundle:
        entry = tarfile.TarInfo("out.bin")
        entry.type, entry.linkname = kind, "/etc/passwd"
        bundle.addfile(entry)
    assert_refused(tmp_path / "a.tar.gz", "'out.bin' is a link or a device; refused")


def test_links_in_a_zip_are_refused(tmp_path):
    entry = zipfile.ZipInfo("out.bin")
    entry.external_attr = 0o120777 << 16
    assert_refused(make_zip(tmp_path / "a.zip", (entry, "/etc/passwd")), "'out.bin' is a link or a device; refused")


@MAKERS
def test_a_damaged_archive_is_named(tmp_path, make, file):
    archive = make(tmp_path / file, ("1.bin", bytes(range(256)) * 100))
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2] + content[-100:])
    assert_refused(archive, "fetch")


def test_something_else_is_no_archive(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"<html>not found</html>")
    assert_refused(tmp_path / "a.zip", "neither a zip nor a tar archive")


@MAKERS
def test_a_file_that_is_a_folder_too_is_refused(tmp_path, make, file):
    assert_refused(make(tmp_path / file, ("a", b"1"), ("a/b", b"2")), "is a file and a folder at once")


def test_a_header_of_digits_does_not_take_hours(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as bundle:
        header = tarfile.TarInfo("pax")
        header.type, header.size = tarfile.XHDTYPE, 1 << 20
        bundle.addfile(header, io.BytesIO(b"1" * (1 << 20)))
        bundle.addfile(tarfile.TarInfo("b"))
    begin = time.monotonic()
    assert_refused(tmp_path / "a.tar", "extended headers of absurd length")
    assert time.monotonic() - begin < 5
