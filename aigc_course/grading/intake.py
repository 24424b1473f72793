"""Take in what students sent, as learning platforms export it: whose is it, is it a notebook, can it be repaired?

Nothing is run, nothing of the input is changed, and every file of it is in the report. What is certain is repaired; all
else is named, with the student and the reason. Three layouts are read, from a ZIP archive or a folder:

- **Moodle**, "Download all submissions": `Full Name_123456_assignsubmission_file/vae.ipynb`, with a `_` at the end of
  the folder's name in older versions; flat without "Download submissions in folders":
  `Full Name_123456_assignsubmission_file_vae.ipynb`; `onlinetext` in the place of `file` for text typed into the page.
  Moodle turns `_` in names into spaces and drops quotation marks; the number is the student's in this assignment alone,
  "Participant 123456" in the grading worksheet. Source: `mod/assign/classes/downloader.php` of moodle/moodle (before
  4.1 `download_submissions` in `mod/assign/locallib.php`).
- **Canvas**, "Download Submissions": `lovelaceada_LATE_12345_67890_vae-1.ipynb`: the name as it is sorted, in small
  letters and without spaces; the number of the account ("ID" in the gradebook's export) and that of the upload, which
  grows with every attempt; `lovelaceada_12345_text.html` and `…_link.html` for what was typed into the page; `anon_…`
  with anonymous grading. Source: `lib/content_zipper.rb` of instructure/canvas-lms.
- **plain**: `student/vae.ipynb` or `student.ipynb`, perhaps all in one folder.

A name imitates another where both look alike and are written differently. They are compared as the Unicode Consortium
advises, by their "skeletons": Unicode Technical Standard 39, *Unicode Security Mechanisms*, section 4, with those
letters of its table that look like Latin ones.
"""

import csv
import hashlib
import io
import json
import os
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import nbformat
from filelock import FileLock, Timeout
from nbformat import NotebookNode

from aigc_course.grading.notebooks import LARGEST, parse, restored
from aigc_course.grading.papers import PUBLIC, Papers, ReleaseError, mark

# Of an archive: how many files it may have, how many bytes unpacked, and how many for each packed one (deflate can make
# 1,032 of one; notebooks reach about 20). A small file may be as repetitive as it likes.
FILES, BYTES, RATIO, SMALL = 20_000, 2**33, 200, 2**24
csv.field_size_limit(2**28)  # a worksheet may hold the texts that students typed
# Times in an archive are exact to two seconds.
_EXACT = timedelta(seconds=2)
# What operating systems and Jupyter leave beside files: never a submission.
_LEFTOVERS = {
    "__macosx": "resource forks of macOS",
    ".ds_store": "a leftover of macOS",
    "thumbs.db": "a leftover of Windows",
    "desktop.ini": "a leftover of Windows",
    ".ipynb_checkpoints": "Jupyter's own copy",
    "__pycache__": "a leftover of Python",
}
_MOODLE = re.compile(r"(?P<name>[^_]+)_(?P<number>\d+)_assignsubmission_(?P<kind>file|onlinetext)(?:_(?P<rest>.*))?")
_CANVAS = re.compile(
    r"(?P<name>\w+?)(?:_LATE)?_(?P<number>\d+)_(?:(?P<upload>\d+)_(?P<rest>.+)|(?P<typed>text|link)\.html)"
)
_CANVAS_ANONYMOUS = re.compile(r"(?:LATE_)?(?P<name>anon_[^\W_]+)_(?:(?P<upload>\d+)_.+|(?:text|link)\.html)")
# What platforms write in the place of a name when grading is anonymous.
_NAMELESS = {"", "participant"}
# Letters that look like Latin ones: Cyrillic, Greek, Armenian, and other Latin ones. An i, an l and a 1 look alike.
_LOOKALIKES = str.maketrans(
    "АВЕЅІЈКМНОРСТУХаеѕіјкорсухһԁԛԝ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαικνορυ" + "օսհոց" + "ıɑɡIi1|0",
    "ABESlJKMHOPCTYXaesljkopcyxhdqw" + "ABEZHlKMNOPTYXalkvopu" + "ouhng" + "lagllllo",
)
_OPENED = "an archive; its files are listed below it"
# What the report says of a file.
Outcome = Literal["taken", "kept", "ignored", "look"]


class IntakeError(ValueError):
    """What was asked for cannot be done; the message says why and what to do."""


@dataclass
class Sent:
    """A file of the input.

    **Arguments:** its `path` there, with `/`; its `size` in bytes and the `time` of its last change, in ISO 8601, empty
    if unknown; how to `read` it, which raises ValueError with the reason if it cannot be read safely.
    """

    path: str
    size: int
    time: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Sender:
    """Whose a file is, as the platform says: a name, a number of the account, and one of the upload that grows."""

    platform: Literal["Moodle", "Canvas", "plain"]
    name: str
    number: str = ""
    upload: int = 0


@dataclass(frozen=True)
class Student:
    """A line of the roster; `number` is the platform's own, where the roster is the platform's."""

    id: str
    name: str = ""
    email: str = ""
    number: str = ""


@dataclass
class Intake:
    """What an intake did.

    **Arguments:** `report` is what `report.json` holds; `changes` says for each student of the input whether the folder
    is "new", "updated", "unchanged" or was "changed by hand".
    """

    report: dict[str, Any]
    changes: dict[str, str]

    @property
    def looks(self) -> int:
        """How many students and files need a look."""
        students = self.report["students"].values()
        return sum(bool(student["look"]) for student in students) + sum(
            entry["outcome"] == "look" for entry in self.report["files"] if entry["student"] is None
        )


@dataclass
class _Found:
    """A file of one student's, or one in a student's archive, with what it turned out to be."""

    path: str
    sha256: str
    size: int
    time: str
    upload: int
    original: str | None  # the name under which it is kept; None for what lies in an archive that is kept
    text: str | None = None  # the repaired notebook
    repairs: list[str] = field(default_factory=list)
    look: list[str] = field(default_factory=list)
    reason: str = ""  # why there is no notebook
    ignored: str = ""


# --- The input --------------------------------------------------------------------------------------------------------


def files_of_folder(folder: Path) -> list[Sent]:
    """Return the files of a folder, in the order of their paths. Links are named, not followed."""
    found: list[Sent] = []

    def failed(error: OSError) -> None:
        if error.filename == str(folder):
            raise error
        path = _printable(Path(error.filename).relative_to(folder)) + "/"
        found.append(Sent(path, 0, "", _refuse(f"the folder cannot be read: {error.strerror}")))

    for place, folders, names in os.walk(folder, onerror=failed):
        folders.sort()
        # os.walk counts links to folders among the folders, and does not go there.
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for name in [*names, *links]:
            found.append(_file_of_folder(Path(place, name), folder))
        if not names and not folders and place != str(folder):
            found.append(Sent(_printable(Path(place).relative_to(folder)) + "/", 0, "", _refuse("the folder is empty")))
    return sorted(found, key=lambda sent: sent.path)


def _file_of_folder(path: Path, folder: Path) -> Sent:
    about = path.lstat()
    read = _file_reader(path)
    if stat.S_ISLNK(about.st_mode):
        read = _refuse("it is a link; ask for the file itself")
    elif not stat.S_ISREG(about.st_mode):
        read = _refuse("it is a device, a pipe or a socket, not a file")
    elif about.st_size > LARGEST:
        read = _refuse(f"the file has more than {LARGEST // 2**20} MB")
    time = datetime.fromtimestamp(about.st_mtime).isoformat(timespec="seconds")
    return Sent(_printable(path.relative_to(folder)), about.st_size, time, read)


def _file_reader(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise ValueError(f"the file cannot be read: {error.strerror}") from error

    return read


def files_of_archive(archive: zipfile.ZipFile) -> list[Sent]:
    """Return the files of a ZIP archive, in the order of their paths.

    Paths that lead out of it, links, devices, encrypted files, names that occur twice and files that unpack to too much
    are there, but cannot be read. Reading gives no more bytes than the archive's table of contents announces.

    Raises ValueError for an archive that has too many files, or unpacks to too much in all.
    """
    members = archive.infolist()
    if len(members) > FILES:
        raise ValueError(f"the archive has {len(members):,} files; it may have {FILES:,}")
    if sum(member.file_size for member in members) > BYTES:
        raise ValueError(f"the archive unpacks to more than {BYTES // 2**30} GB: a zip bomb")
    names = [_member_name(member) for member in members]
    alike: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        alike.setdefault(_folded(name), []).append(i)
    holders = {name.rstrip("/").rpartition("/")[0] for name in names}
    found = []
    for member, name in zip(members, names, strict=True):
        if name.endswith("/") and not member.file_size:
            if name.rstrip("/") not in holders:
                found.append(Sent(_printable(name), 0, "", _refuse("the folder is empty")))
            continue
        twins = {(members[j].CRC, members[j].file_size) for j in alike[_folded(name)]}
        problem = _unsafe(member, name) or (
            "the archive has several files of this name, up to capital letters" if len(twins) > 1 else ""
        )
        try:
            time = datetime(*member.date_time).isoformat()
        except ValueError:
            time = ""
        read = _refuse(problem) if problem else _reader(archive, member)
        found.append(Sent(_printable(name), member.file_size, time, read))
    return sorted(found, key=lambda sent: sent.path)


def _member_name(member: zipfile.ZipInfo) -> str:
    name = member.orig_filename
    if not member.flag_bits & 0x800:
        # Without this flag the name counts as code page 437, but macOS writes UTF-8.
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _unsafe(member: zipfile.ZipInfo, name: str) -> str:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/") or "\0" in name:
        return "its path leads out of the archive"
    if name.endswith("/"):
        return "it is called like a folder, but holds data"
    if kind == stat.S_IFLNK:
        return "it is a link; ask for the file itself"
    if kind not in (0, stat.S_IFREG):
        return "it is a device, a pipe or a socket, not a file"
    if member.flag_bits & 1:
        return "it is encrypted; ask for it without a password"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "it is packed in an unusual way; ask for the .ipynb file"
    if member.file_size > LARGEST:
        return f"the file has more than {LARGEST // 2**20} MB"
    if member.file_size > max(SMALL, RATIO * member.compress_size):
        return "it unpacks to very much more than it takes: a zip bomb"
    return ""


def _reader(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            return archive.read(member)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
            raise ValueError(f"it cannot be unpacked ({error})") from error

    return read


def _refuse(reason: str) -> Callable[[], bytes]:
    def read() -> bytes:
        raise ValueError(reason)

    return read


def _leftover(path: str) -> str:
    parts = path.split("/")
    reasons = [_LEFTOVERS[part.lower()] for part in parts if part.lower() in _LEFTOVERS]
    return (reasons or (["a resource fork of macOS"] if parts[-1].startswith("._") else [""]))[0]


# --- Whose is it? -----------------------------------------------------------------------------------------------------


class Roster:
    """The students of a class, and who of them is meant by what a platform writes.

    **Arguments:** `students`, with ids that are unique, up to capital letters, and made of letters, digits and `.-_@+`.

    Raises `IntakeError` for other ids, or none.
    """

    def __init__(self, students: list[Student]) -> None:
        if not students:
            raise IntakeError("the roster has no students")
        self.students: dict[str, Student] = {}
        for student in students:
            if not re.fullmatch(r"[\w@][\w.@+-]{0,99}", student.id) or _folder_name(student.id) != student.id:
                raise IntakeError(
                    f"the roster has the id {student.id!r}; an id takes letters, digits and . - _ @ +, and is not empty"
                )
            if _folded(student.id) in self.students:
                raise IntakeError(f"the roster has the id {student.id!r} twice")
            self.students[_folded(student.id)] = student
        self._by_word: dict[str, set[Student]] = {}
        self._by_name: dict[str, set[Student]] = {}
        self._by_look: dict[str, Student] = {}
        for student in students:
            for word in (student.id, student.email, student.email.split("@")[0]):
                self._by_word.setdefault(_folded(word), set()).add(student)
            for name in _orders(student.name):
                self._by_name.setdefault(_letters(name), set()).add(student)
            for name in [student.id, *_orders(student.name)]:
                self._by_look[_skeleton(name)] = student
        for index in (self._by_word, self._by_name):
            index.pop("", None)

    @classmethod
    def read(cls, path: Path) -> "Roster":
        """Read a CSV file with a header: a teacher's own, Moodle's grading worksheet or Canvas's gradebook.

        The columns are known by their names, in English: `id` (or `student id`, `id number`, `username`; Moodle's
        `Identifier`), `name` (`full name`, `student`; or `first name` and `last name`), `email`.

        Raises `IntakeError` if the file cannot be read, or has no id.
        """
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise IntakeError(f"the roster {path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise IntakeError(f"the roster {path} is not in UTF-8: save it as “CSV UTF-8”") from error
        first = text.split("\n", 1)[0]
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text))
        header = [re.sub(r"[^a-z]", "", cell.lower()) for cell in next(lines, [])]

        def column(row: list[str], *names: str) -> str:
            found = [row[header.index(name)].strip() for name in names if name in header[: len(row)]]
            return found[0] if found else ""

        ids = ("id", "studentid", "idnumber", "username", "identifier")
        if not set(ids) & set(header):
            raise IntakeError(f"the roster {path} has no column “id”; its first line is {first.strip()!r}")
        students = []
        from_canvas = "id" in header and any(name.startswith("sis") for name in header)
        for row in lines:
            name = column(row, "name", "fullname", "student", "studentname")
            name = name or f"{column(row, 'firstname')} {column(row, 'lastname', 'surname')}".strip()
            # Of Canvas: lines that are nobody's, and the teacher's own test student.
            if not any(map(str.strip, row[:3])) or name in ("Points Possible", "Student, Test"):
                continue
            identifier = re.sub(r"\D*(\d+)", r"\1", column(row, "identifier"))  # "Participant 123456"
            number = identifier or (column(row, "id") if from_canvas else "")
            id_ = column(row, *ids[:-1]) or identifier
            students.append(Student(id_, name, column(row, "email", "emailaddress", "mail"), number))
        return cls(students)

    def who(self, sender: Sender, assignment: str) -> tuple[Student | None, str]:
        """Return the student whom a platform names, or None and the reason why that is not certain."""
        if sender.platform == "plain":
            words = {_folded(word) for word in _plain_names(sender.name, assignment)}
            found: set[Student] = set().union(*(self._by_word.get(word, set()) for word in words))
            if len(found) == 1:
                return found.pop(), ""
            names = _plain_names(sender.name, assignment)
        else:
            found, names = set(), [sender.name]
        named = set().union(*(self._by_name.get(_letters(name), set()) for name in names)) | found
        numbered = {s for s in self.students.values() if sender.number and sender.number in (s.id, s.number)}
        if len(numbered) == 1:
            (student,) = numbered
            if student in named or not student.name or _letters(sender.name) in _NAMELESS:
                return student, ""
            return None, (
                f"the account's number {sender.number} is that of {_called(student)}, but its name is "
                f"“{_printable(sender.name)}”"
            )
        if len(named) > 1:
            who = ", ".join(sorted(map(_called, named)))
            return None, f"“{_printable(sender.name)}” can be several students: {who}"
        if named:
            (student,) = named
            if student.number and sender.number:
                return None, (
                    f"“{_printable(sender.name)}” is called like {_called(student)}, but the account has the number "
                    f"{sender.number}, not {student.number}"
                )
            return student, ""
        for name in names:
            if like := self._by_look.get(_skeleton(name)):
                return None, (
                    f"“{_printable(name)}” looks like {_called(like)}, but is written differently"
                    f"{_strange(name, like.name + like.id)}"
                )
        return None, f"“{_printable(sender.name)}” is nobody on the roster"


def sender_of(path: str) -> Sender:
    """Return whose a file is, from its path in the input; folders around all of it are left out before."""
    first, *rest = path.split("/")
    if found := _MOODLE.fullmatch(first):
        if rest or found["rest"]:
            return Sender("Moodle", found["name"], found["number"])
    elif not rest and (found := _CANVAS_ANONYMOUS.fullmatch(first)):
        return Sender("Canvas", found["name"], "", int(found["upload"] or 0))
    elif not rest and (found := _CANVAS.fullmatch(first)):
        return Sender("Canvas", found["name"], found["number"], int(found["upload"] or 0))
    return Sender("plain", first if rest else re.sub(r"(\.ipynb)?\.\w+$", "", first) or first)


def _without_wrapping(paths: list[str], known: Callable[[str], bool]) -> int:
    """Return how many folders at the beginning of all paths only hold the others."""
    split = [path.split("/") for path in paths if not _leftover(path)]
    depth = 0
    while split and all(len(parts) > depth + 1 and parts[depth] == split[0][depth] for parts in split):
        if known(split[0][depth]) or _MOODLE.fullmatch(split[0][depth]):
            break
        depth += 1
    # With nothing beside it, the folder of a student looks the same.
    return depth if len({parts[depth] for parts in split}) > 1 else 0


def _plain_names(name: str, assignment: str) -> list[str]:
    """Return a plain name, and what it is without what browsers, Colab and students add to a file's name."""
    short = re.sub(r"^Copy of |( - Copy)?( ?\(\d+\))?$", "", name)
    bare = re.sub(rf"^{re.escape(assignment)}[ _-]+|[ _-]+{re.escape(assignment)}$", "", short, flags=re.IGNORECASE)
    return list(dict.fromkeys([name, short, bare]))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


def _letters(name: str) -> str:
    """Return a name without capitals, spaces and punctuation, which platforms change. Invisible letters stay."""
    return "".join(c for c in _folded(name) if unicodedata.category(c)[0] not in "ZPS" and c not in "\t\r\n")


def _orders(name: str) -> set[str]:
    """Return a name as platforms may write it: with any of its words first."""
    words = [word for word in re.split(r"[\s,]+", name) if word]
    return {"".join(words[i:] + words[:i]) for i in range(len(words))}


def _skeleton(name: str) -> str:
    """Return what a name looks like: equal for names that look alike."""
    plain = unicodedata.normalize("NFKD", name.translate(_LOOKALIKES)).translate(_LOOKALIKES).lower()
    return "".join(c for c in plain if unicodedata.category(c)[0] in "LN").replace("rn", "m")


def _strange(name: str, other: str) -> str:
    odd = sorted(set(unicodedata.normalize("NFC", name)) - set(unicodedata.normalize("NFC", other)))
    names = [unicodedata.name(c, f"U+{ord(c):04X}") for c in odd if ord(c) > 127]
    return f" ({', '.join(names)})" if names else ""


def _called(student: Student) -> str:
    return f"{student.name} ({student.id})" if student.name else student.id


def _printable(text: str | Path) -> str:
    """Return a text without what a terminal would act on, and without bytes that are no UTF-8."""
    whole = os.fsencode(str(text)).decode("utf-8", "replace") if _has_surrogates(str(text)) else str(text)
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in whole)


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)


def _folder_name(name: str) -> str:
    """Return a name that every file system takes."""
    safe = "".join(c if c.isalnum() or c in " -_.,@+'()" else "_" for c in unicodedata.normalize("NFC", name))
    safe = safe[-120:].strip(" .") or "_"
    while len(safe.encode()) > 120:
        safe = safe[1:]  # the ending of a file's name matters
    reserved = r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|(report|papers)\.json"
    return f"_{safe}" if re.fullmatch(reserved, safe.lower()) else safe


# --- Taking in --------------------------------------------------------------------------------------------------------


def intake(assignment: str, source: Path, release: NotebookNode, course: Path, roster: Roster | None = None) -> Intake:
    """Take in what a class sent: originals, repaired notebooks and a report, under `course/submitted/<assignment>/`.

    Each student has a folder there, called by the roster's id, else by the platform's name and number:
    `original/` holds what was sent, byte for byte, under its SHA-256 and name; `notebook.ipynb` is the repaired one, if
    there is one; `intake.json` says what is what, and is written last. What earlier intakes took stays; the newest file
    of a student counts, by the platform's number of the upload, else by the times in the archive. `report.json` has
    every file of this input and every student.

    Taking in the same again changes nothing. A process that is killed leaves no half-written file, and the same
    intake again ends in the same state. One intake runs at a time. A `notebook.ipynb` that was changed by hand stays.

    **Arguments:** `source` is a ZIP archive or a folder; `release` the notebook that students were given, if they
    were not given papers of their own (see `papers`).

    Raises `IntakeError` for an input or a release that cannot be used, or while another intake is running.
    """
    if not re.fullmatch(r"[\w-]+", assignment):
        raise IntakeError(f"the assignment is {assignment!r}; its name takes letters, digits, - and _")
    answers = [cell for cell in release.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    if not answers:
        raise IntakeError("the release has no answer cells: it is not a notebook of an assignment")
    if any(re.search("### BEGIN (SOLUTION|HIDDEN TESTS)", cell.source) for cell in release.cells):
        raise IntakeError("the release holds solutions or hidden tests: name the notebook that students were given")
    folder = course.resolve() / "submitted" / assignment
    if source.is_dir() and (folder.is_relative_to(source.resolve()) or source.resolve().is_relative_to(folder)):
        raise IntakeError(f"{source} is where the results go, or holds that place; put what was sent elsewhere")
    try:
        archive = None if source.is_dir() else zipfile.ZipFile(source)
        sent = files_of_folder(source) if archive is None else files_of_archive(archive)
    except OSError as error:
        raise IntakeError(f"{source} cannot be read: {error.strerror}") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise IntakeError(f"{source} is neither a folder nor a ZIP archive that can be taken in: {error}") from error
    if not sent:
        raise IntakeError(f"{source} holds no files")
    try:
        with alone(folder):
            return _taken_in(assignment, sent, (Papers.read(assignment, course), release), folder, roster)
    except ReleaseError as error:
        raise IntakeError(str(error)) from error
    except Timeout as error:
        raise IntakeError(f"another intake into {folder} is running: wait until it has ended") from error
    finally:
        if archive is not None:
            archive.close()


def _taken_in(
    assignment: str, sent: list[Sent], given_out: tuple[Papers, NotebookNode], folder: Path, roster: Roster | None
) -> Intake:
    papers, public = given_out
    own, nobodys = _shared_out(assignment, sent, folder, roster)
    files: list[dict[str, Any]] = [
        {"path": one.path, "size": one.size, "student": None, "outcome": outcome, "reason": reason}
        for one, outcome, reason in nobodys
    ]
    changes = {}
    for student, (senders, given) in sorted(own.items()):
        place = folder / student
        earlier = manifest_of(place)
        release = papers.notebook(student, public)
        found = [each for sender, one in given for each in _examined(one, sender, release, place)]
        paths = {(each.path, each.sha256) for each in found}
        for entry in earlier["files"]:
            if entry["original"] and (entry["path"], entry["sha256"]) not in paths:
                again = Sent(entry["path"], entry["size"], entry["time"], _file_reader(place / entry["original"]))
                found += _examined(again, Sender("plain", student, "", entry["upload"]), release, place)
        found.sort(key=lambda each: (each.path, each.sha256))
        changes[student], manifest = _settled(student, found, senders, earlier, place)
        files += [
            {key: entry[key] for key in ("path", "size", "student", "outcome", "reason")}
            for entry in ({**each, "student": student} for each in manifest["files"])
            if (entry["path"], entry["sha256"]) in paths
        ]
    students: dict[str, dict[str, Any]] = {}
    alike: dict[str, set[str]] = {}
    for place in sorted(path.parent for path in folder.glob("*/intake.json")):
        manifest = manifest_of(place)
        students[place.name] = {
            "notebook": manifest["notebook"],
            "repairs": manifest["repairs"],
            "look": manifest["look"] + _by_hand(place, manifest),
        }
        for sender in manifest["senders"]:
            alike.setdefault(_skeleton(sender["name"]), set()).add(place.name)
    for names in alike.values() if roster is None else ():
        for name in names if len(names) > 1 else ():
            others = ", ".join(sorted(names - {name}))
            students[name]["look"].append(
                f"there is another student of the same name, or one that looks alike: {others}"
            )
    missing = [] if roster is None else [s.id for s in roster.students.values() if s.id not in students]
    report = {
        "assignment": assignment,
        "files": sorted(files, key=lambda entry: entry["path"]),
        "students": students,
        "missing": sorted(missing),
    }
    write_json(folder / "report.json", report)
    return Intake(report, changes)


_Own = dict[str, tuple[list[Sender], list[tuple[Sender, Sent]]]]


def _shared_out(
    assignment: str, sent: list[Sent], folder: Path, roster: Roster | None
) -> tuple[_Own, list[tuple[Sent, Outcome, str]]]:
    """Return the files of each student, and those that are nobody's, with the reason."""

    def known(name: str) -> bool:
        return roster is not None and roster.who(Sender("plain", name), assignment)[0] is not None

    depth = _without_wrapping([one.path for one in sent], known)
    nobodys: list[tuple[Sent, Outcome, str]] = []
    groups: dict[str, list[tuple[Sender, Sent]]] = {}
    for one in sent:
        if reason := _leftover(one.path):
            nobodys.append((one, "ignored", reason))
            continue
        sender = sender_of("/".join(one.path.rstrip("/").split("/")[depth:]) + "/" * one.path.endswith("/"))
        if roster is None:
            student = _folder_name(f"{sender.name}_{sender.number}" if sender.number else sender.name)
        else:
            who, reason = roster.who(sender, assignment)
            if who is None:
                nobodys.append((one, "look", reason))
                continue
            student = who.id
        groups.setdefault(_folded(student), []).append((sender, one))

    own: _Own = {}
    for name, given in groups.items():
        student = roster.students[name].id if roster else _folder_name(_name_of(given[0][0]))
        senders = list(dict.fromkeys(Sender(s.platform, s.name, s.number) for s, _ in given))
        problem = _two_senders(senders, manifest_of(folder / student)["senders"], roster is not None)
        if problem:
            nobodys += [(one, "look", problem) for _, one in given]
        else:
            own[student] = senders, given
    return own, nobodys


def _name_of(sender: Sender) -> str:
    return f"{sender.name}_{sender.number}" if sender.number else sender.name


def _two_senders(senders: list[Sender], earlier: list[dict[str, Any]], known: bool) -> str:
    """Return why files that seem to be one student's may be two students', or nothing."""
    everyone = senders + [Sender(**each) for each in earlier if Sender(**each) not in senders]
    for platform in ("Moodle", "Canvas"):
        numbers = sorted({s.number for s in everyone if s.platform == platform})
        if len(numbers) > 1:
            return (
                f"{platform} has it from two accounts of this name ({', '.join(numbers)}): find out who is who, then "
                "take the right file in again from a folder that is called by the student's id"
            )
    written = {s.name for s in everyone if s.platform == "plain"}
    for name in sorted(written):
        for other in sorted(written - {name}):
            if _folded(name) == _folded(other) or not known:
                return f"two names look alike and are written differently: {name!a} and {other!a}"
    return ""


def manifest_of(place: Path) -> dict[str, Any]:
    """Return what `intake.json` holds, or what it would hold before the first intake."""
    path = place / "intake.json"
    if not path.exists():
        return {"student": place.name, "senders": [], "files": [], "notebook": None, "repairs": [], "look": []}
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise IntakeError(f"{path} is damaged ({error}): delete it, and take the same in again") from error


def _examined(one: Sent, sender: Sender, release: NotebookNode, place: Path) -> Iterator[_Found]:
    """Keep a file of a student's as it is, and find out what it is; in an archive, what each of its files is."""
    try:
        data = one.read()
    except ValueError as error:
        yield _Found(one.path, "", one.size, one.time, sender.upload, None, reason=str(error))
        return
    digest = hashlib.sha256(data).hexdigest()
    original = f"original/{digest[:12]}-{_folder_name(one.path.split('/')[-1])}"
    kept = place / original
    if not kept.exists() or hashlib.sha256(kept.read_bytes()).hexdigest() != digest:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write(kept, data)
    whole = _Found(one.path, digest, len(data), one.time, sender.upload, original)
    yield whole
    if not data.startswith(b"PK\x03\x04"):
        _judge(whole, data, release)
        return
    try:
        if data.count(b"PK\x01\x02") > FILES:  # before the table of contents is read into memory
            raise ValueError(f"the archive has more than {FILES:,} files")
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            inner = files_of_archive(archive)
            if any(each.path == "[Content_Types].xml" for each in inner):
                raise ValueError("the file is not a notebook but an Office document; ask for the .ipynb file")
            whole.reason = _OPENED if inner else "the archive is empty"
            for each in inner:
                found = _Found(f"{one.path}/{each.path}", "", each.size, each.time, sender.upload, None)
                yield found
                if reason := _leftover(each.path):
                    found.ignored = reason
                    continue
                try:
                    content = each.read()
                except ValueError as error:
                    found.reason = str(error)
                    continue
                found.sha256 = hashlib.sha256(content).hexdigest()
                _judge(found, content, release)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        whole.reason = str(error)


def _judge(found: _Found, data: bytes, release: NotebookNode) -> None:
    """Find out whether a file is a notebook of this assignment, and repair it."""
    try:
        notebook = parse(data, found.path)
        version = json.loads(data)["nbformat"]
        mended, found.repairs, found.look = restored(release, notebook)
    except ValueError as error:
        found.reason = str(error)
        return
    if mark(release) != PUBLIC and mark(notebook) not in ("", mark(release)):
        found.look.append("it was made from another notebook than the one that this student was given")
    if version < 4:
        found.repairs.insert(0, f"notebook format {version}")
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:4]:
        found.repairs.insert(0, "UTF-16" if b"\0" in data[:4] else "byte order mark")
    if not found.path.lower().endswith(".ipynb"):
        found.repairs.insert(0, "the ending of its name")
    found.text = nbformat.writes(mended) + "\n"


def _settled(
    student: str, found: list[_Found], senders: list[Sender], earlier: dict[str, Any], place: Path
) -> tuple[str, dict[str, Any]]:
    """Choose the file that counts, and write the student's folder; return what changed, and the manifest."""
    taken, look = _chosen([each for each in found if each.text is not None])
    if taken is not None:
        look += taken.look
        look += [
            f"a newer file, {each.path}, could not be used ({each.reason}); an older one counts"
            for each in found
            if each.text is None and ".ipynb" in each.path.lower() and not each.ignored and _newer(each, taken)
        ]
    elif not look:
        look = [f"{each.path}: {each.reason}" for each in found if each.reason not in ("", _OPENED)]
    entries = []
    for each in found:
        outcome: Outcome = "kept" if taken is not None else "look"
        reason = each.reason
        if each.ignored:
            outcome, reason = "ignored", each.ignored
        elif each is taken:
            outcome, reason = "taken", "; ".join(["repaired: " + ", ".join(each.repairs)] if each.repairs else [])
        elif taken is not None and each.text is not None:
            reason = (
                "says the same as the one taken" if each.text == taken.text else "another submission, not the newest"
            )
        elif not reason and each.text is not None:
            reason = look[0]
        about = {key: getattr(each, key) for key in ("path", "sha256", "size", "time", "upload", "original")}
        entries.append({**about, "outcome": outcome, "reason": reason})
    text = None if taken is None else (taken.text or "").encode()
    everyone = [*earlier["senders"], *({"platform": s.platform, "name": s.name, "number": s.number} for s in senders)]
    manifest = {
        "student": student,
        "senders": sorted(_unique(everyone), key=lambda each: tuple(each.values())),
        "files": entries,
        "notebook": None if text is None or taken is None else {"from": taken.path, "sha256": sha256(text)},
        "repairs": [] if taken is None else taken.repairs,
        "look": look,
    }

    notebook = place / "notebook.ipynb"
    now = notebook.read_bytes() if notebook.exists() else None
    before = (place / "intake.json").exists()
    if now != text and _by_hand(place, earlier):
        manifest["notebook"] = earlier["notebook"]
        write_json(place / "intake.json", manifest)
        return "changed by hand", manifest
    changed = now != text
    if changed and text is None:
        notebook.unlink()
    elif changed and text is not None:
        place.mkdir(parents=True, exist_ok=True)
        write(notebook, text)
    changed |= write_json(place / "intake.json", manifest)
    return ("updated" if before else "new") if changed else "unchanged", manifest


def _unique(entries: list[dict[str, str]]) -> list[dict[str, str]]:
    return [each for i, each in enumerate(entries) if each not in entries[:i]]


def _by_hand(place: Path, manifest: dict[str, Any]) -> list[str]:
    """Return a sentence if the notebook is not the one that the manifest names."""
    notebook = place / "notebook.ipynb"
    if not notebook.exists() or (manifest["notebook"] or {}).get("sha256") == sha256(notebook.read_bytes()):
        return []
    return ["notebook.ipynb was changed by hand and stays as it is; delete it to have it made again"]


def _chosen(good: list[_Found]) -> tuple[_Found | None, list[str]]:
    """Return the newest of the notebooks that can be used; None, and why, if that cannot be told."""
    if not good:
        return None, []
    numbered = all(each.upload for each in good)
    best = max(good, key=lambda each: (each.upload if numbered else 0, each.time, each.path))
    rivals = [each.path for each in good if each.text != best.text and not _newer(best, each, numbered)]
    if rivals:
        listed = ", ".join(sorted([best.path, *rivals]))
        return None, [f"several notebooks could be the one that counts, and none is newer: {listed}"]
    return best, []


def _newer(one: _Found, other: _Found, numbered: bool = True) -> bool:
    if numbered and one.upload and other.upload and one.upload != other.upload:
        return one.upload > other.upload
    if not one.time or not other.time:
        return False
    return datetime.fromisoformat(one.time) - datetime.fromisoformat(other.time) >= _EXACT


def delimiter_of(text: str) -> str:
    """Return what separates the columns of a CSV file: of comma, semicolon and tab what its header has most of."""
    return max(",;\t", key=text.split("\n", 1)[0].count)


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def write_json(path: Path, content: dict[str, Any]) -> bool:
    """Write `content` unless the file has it already; return whether it was written."""
    data = (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode(
        errors="replace"
    )  # of half a pair of surrogates
    return write(path, data)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only one who writes into a folder, which is made, and cleared of what a killed one left half-written.

    Raises `filelock.Timeout` if somebody else is writing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock").acquire(timeout=0):
        for left in folder.rglob(".*.part"):
            left.unlink()
        yield


def write(path: Path, data: bytes) -> bool:
    """Put `data` into `path` unless they are there already, whole or not at all; return whether it was written.

    They are written aside, and renamed. The name aside is fixed, so that a later attempt overwrites what a killed one
    left: one process writes at a time.
    """
    if path.exists() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
    return True
