"""Read and repair the notebooks that students send. Nothing here runs them, and nothing here needs nbgrader.

A student's notebook is compared with the assignment's own: the release, which students were given, or the solved one.
Of the student's cells only the text and the labels count (nbgrader's `grade_id`); all else comes from the assignment.
"""

import ast
import copy
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

# What nbgrader writes where an answer in words belongs.
PLACEHOLDER = "YOUR ANSWER HERE"
# Bytes that a file may have.
LARGEST = 2**28
# Characters of a cell in which IPython's commands are looked for: each of them costs a reading of the whole cell.
_LONGEST = 50_000
# What students send in the place of a notebook, by how it begins.
_KINDS = {
    b"PK": "a ZIP archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"%PDF": "a PDF; ask for the .ipynb file",
    b"<": "a web page; ask for the .ipynb file",
    b"http": "a link; ask for the file itself",
    b"[InternetShortcut]": "a link; ask for the file itself",
    b"\x89PNG": "a picture; ask for the .ipynb file",
    b"\xff\xd8\xff": "a picture; ask for the .ipynb file",
}
# And by the ending of its name.
_ENDINGS = {".py": "a Python file; ask for the .ipynb file"}


def read(path: Path) -> NotebookNode:
    """Return the notebook in a file that a student sent, in today's format.

    Raises ValueError with what is wrong if there is none. A byte order mark and UTF-16 are no obstacle.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is a folder, or something else that is not a file; name the notebooks in it")
        if path.stat().st_size > LARGEST:
            raise ValueError(f"the file has more than {LARGEST // 2**20} MB")
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror}") from error
    return parse(data, path.name)


def parse(data: bytes, name: str = "") -> NotebookNode:
    """Return the notebook that the bytes of a file hold, as `read` does; `name` is the file's."""
    if not data.strip(b"\0 \t\r\n"):
        raise ValueError("the file is empty")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        begins = data.lstrip(b"\xef\xbb\xbf \t\r\n")
        kinds = [kind for beginning, kind in _KINDS.items() if begins.startswith(beginning)]
        kinds += [kind for ending, kind in _ENDINGS.items() if name.lower().endswith(ending)]
        if kinds:
            raise ValueError(f"the file is not a notebook but {kinds[0]}") from error
        raise ValueError(f"the file is not JSON, or it was cut off: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("nbformat"), int):
        raise ValueError("the file is JSON, but not a notebook")
    try:
        # Nodes of older formats are of another class.
        return nbformat.from_dict(nbformat.convert(nbformat.reader.reads(json.dumps(content)), 4))
    except Exception as error:  # nbformat raises whatever it runs into
        raise _damaged(error) from error


def python(source: str) -> str:
    """Return a code cell as Python, without IPython's own syntax."""
    if len(source) > _LONGEST:
        return source
    try:
        return TransformerManager().transform_cell(source)
    except (SyntaxError, RuntimeError):  # of its indentation, or more than 500 commands; it will say so when it runs
        return source


def label(cell: NotebookNode, default: str = "") -> str:
    """Return a cell's `grade_id`, or `default` if it has none."""
    return cell.metadata.get("nbgrader", {}).get("grade_id", default)


def question_of(check: str, answers: Iterable[str]) -> str:
    """Return the answer that a check belongs to: of those whose names it begins with, the longest."""
    return max((name for name in answers if check.startswith(f"{name}-")), key=len)


def elsewhere(solved: NotebookNode, notebook: NotebookNode) -> list[str]:
    """Return the answers in words that were left empty, in a notebook with text that may be these answers.

    That is text of the student's own in any cell without a label, or any cell of the student's own below the answer's.
    `solved` is the assignment's own notebook, solved or released.
    """
    given = {cell.source.strip() for cell in solved.cells} | {""}
    own = [not label(cell) and cell.source.strip() not in given for cell in notebook.cells]
    names = []
    for cell in solved.cells:
        entry = cell.metadata.get("nbgrader", {})
        if entry.get("grade") and entry["solution"]:
            places = [i for i, other in enumerate(notebook.cells) if label(other) == entry["grade_id"]]
            empty = all(notebook.cells[i].source.strip() in ("", PLACEHOLDER) for i in places)
            if (
                places
                and empty
                and any(
                    mine and (other.cell_type != "code" or i > places[0])
                    for i, (mine, other) in enumerate(zip(own, notebook.cells, strict=True))
                )
            ):
                names.append(entry["grade_id"])
    return names


def repaired(solved: NotebookNode, notebook: NotebookNode) -> NotebookNode:
    """Return the student's text and labels with all else taken from the assignment, and with locked cells put back.

    A tag, say, could keep a check from running, and nbgrader stops at labels that were changed by hand. The text of
    locked cells stays the student's: nbgrader overwrites it, and `restored` does.
    Raises ValueError if the notebook is damaged, or if an answer does not have exactly one cell.
    """
    known = _known(solved)
    result = _clean(known, notebook)
    labels = [label(cell) for cell in notebook.cells]
    answers = [name for name, cell in known.items() if cell.metadata.nbgrader.solution]
    if not any(labels):
        raise ValueError("no cell has a label: another program removed them. Copy the answers into a new notebook")
    if not set(answers) & set(labels):
        others = ", ".join(sorted(map(str, set(labels) - known.keys() - {""}))) or "none"
        raise ValueError(f"it belongs to another assignment: no cell is labelled as an answer here (labels: {others})")
    counts = Counter(labels)
    problems = [f"no cell is labelled {name!r}" for name in answers if not counts[name]]
    problems += [f"{counts[name]} cells are labelled {name!r}" for name in answers if counts[name] > 1]
    if problems:
        raise ValueError("; ".join(problems))

    position = 0
    for name, original in known.items():
        added = [line for cell in notebook.cells if label(cell) == name for line in _added_imports(original, cell)]
        places = [i for i, cell in enumerate(result.cells) if label(cell) == name]
        if not places:
            result.cells.insert(position, original)
            places = [position]
        for i in places[:-1]:  # copies of a check: the last one stands below the answer
            del result.cells[i].metadata["nbgrader"]
        position = places[-1] + 1
        result.cells[position:position] = map(nbformat.v4.new_code_cell, added)
        position += len(added)
    return result


def restored(release: NotebookNode, notebook: NotebookNode) -> tuple[NotebookNode, list[str], list[str]]:
    """Return the student's answers in the release's notebook, what was repaired, and what a person should look at.

    More is repaired than in `repaired`, all of it certain: line ends; copies of an answer that say the same, or
    nothing; labels that were removed, where the place and the text of a cell leave no doubt which one it is; the text
    of locked cells. Equal notebooks give equal results, cell ids included; outputs are left out.

    Raises ValueError as `repaired` does.
    """
    known = _known(release)
    own = _clean(known, notebook)
    repairs = []
    if any("\r" in cell.source for cell in own.cells):
        repairs.append("line ends")
        for cell in own.cells:
            cell.source = cell.source.replace("\r\n", "\n").replace("\r", "\n")
    repairs += _without_copies(known, own)
    found = _labels_put_back(release, own)
    repairs += [f"put back {_listed('label', found)}"] if found else []
    answers = [name for name, cell in known.items() if cell.metadata.nbgrader.solution]
    if not any(label(cell) in answers for cell in own.cells):
        repaired(release, notebook)  # says why: its message names the labels that are no answers here
    sent = {name: [cell.source for cell in own.cells if label(cell) == name] for name in known}
    locked = [name for name in known if name not in answers]
    for what, names in {
        "put back": [name for name in locked if not sent[name]],
        "removed the label of copies of": [name for name in locked if len(sent[name]) > 1],
        "undid changes in": [name for name in locked if sent[name] and not _same(sent[name][-1], known[name].source)],
    }.items():
        repairs += [f"{what} {_listed('cell', names)}"] if names else []
    if any(label(cell) and _added_imports(known[label(cell)], cell) for cell in own.cells):
        repairs.append("gave added imports a cell of their own")

    result = copy.deepcopy(repaired(release, own))
    result.metadata = copy.deepcopy(release.metadata)
    ids: set[str] = set(known)
    for i, cell in enumerate(result.cells):
        name = label(cell)
        if name in locked:
            cell.source = known[name].source
        cell.id = name or f"own-{i}"
        while not name and cell.id in ids:
            cell.id += "-"
        ids.add(cell.id)

    look = [f"the answer {name!r} is empty, but may stand in another cell" for name in elsewhere(release, own)]
    if all(_same(sent[name][0], known[name].source) for name in answers):
        look.append("no answer differs from the notebook that was handed out: perhaps another file was meant")
    return result, repairs, look


def _known(solved: NotebookNode) -> dict[str, NotebookNode]:
    return {label(cell): cell for cell in solved.cells if label(cell)}


def _clean(known: dict[str, NotebookNode], notebook: NotebookNode) -> NotebookNode:
    """Return new cells with a notebook's text; those with a label that is known have the assignment's metadata."""
    result = nbformat.v4.new_notebook()
    try:
        for cell in notebook.cells:
            original = known.get(label(cell))
            metadata = {} if original is None else {"nbgrader": dict(original.metadata.nbgrader)}
            new = getattr(nbformat.v4, f"new_{(original or cell).cell_type}_cell")
            result.cells.append(new(cell.source, metadata=metadata))
        nbformat.writes(result).encode()
    except Exception as error:  # there are more ways to damage a notebook than one can name
        raise _damaged(error) from error
    return result


def _damaged(error: Exception) -> ValueError:
    return ValueError(f"the notebook is damaged ({type(error).__name__}: {error})")


def _added_imports(original: NotebookNode, cell: NotebookNode) -> list[str]:
    """Return the imports that a student added to a cell that will be restored, such as the setup cell."""
    entry = original.metadata.nbgrader
    if entry.solution or entry.grade or original.cell_type != "code":
        return []
    # Lines for IPython, such as `!pip install`, are no Python.
    text = "\n".join("" if line.lstrip().startswith(("!", "%")) else line for line in cell.source.split("\n"))
    try:
        lines = [ast.unparse(node) for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the latter two of code that is nested too deeply
        return []
    known = {ast.unparse(node) for node in ast.parse(original.source).body}
    return [line for line in lines if line not in known]


def _without_copies(known: dict[str, NotebookNode], own: NotebookNode) -> list[str]:
    """Leave one cell of an answer that was duplicated, if the copies are equal or untouched; return what was done."""
    untouched, equal = [], []
    for name, original in known.items():
        cells = [cell for cell in own.cells if label(cell) == name]
        if not original.metadata.nbgrader.solution or len(cells) < 2:
            continue
        answered = [cell for cell in cells if cell.source.strip() and not _same(cell.source, original.source)]
        if answered and len(answered) < len(cells):
            own.cells = [cell for cell in own.cells if label(cell) != name or any(cell is one for one in answered)]
            untouched.append(name)
        first, *others = answered or cells
        if others and all(_same(cell.source, first.source) for cell in others):
            for cell in others:  # its text stays: what the student wrote in between may rely on it
                del cell.metadata["nbgrader"]
            equal.append(name)
    texts = [f"removed untouched copies of {_listed('answer', untouched)}"] if untouched else []
    return texts + ([f"removed the label of equal copies of {_listed('answer', equal)}"] if equal else [])


def _labels_put_back(release: NotebookNode, own: NotebookNode) -> list[str]:
    """Label the cells that lost their labels and can be no others; return the labels.

    A cell is known by its text, if that is the release's and occurs once in both. An answer is known by its place too,
    if a cell beside it is known: between the nearest cells that are known, code has to be the only cell that defines
    what the release's cell defines, and words the only text, with the cells on both sides known.
    """
    given, cells = release.cells, own.cells
    texts = [[text_of(cell.source) for cell in notebook.cells] for notebook in (release, own)]
    counts = [Counter(each) for each in texts]
    place: dict[int, int] = {}  # of a cell in the release: where the student has it
    for i, cell in enumerate(given):
        text = texts[0][i]
        labelled = [j for j, other in enumerate(cells) if label(cell) and label(other) == label(cell)]
        if len(labelled) == 1:
            place[i] = labelled[0]
        elif not labelled and text and counts[0][text] == counts[1][text] == 1:
            j = texts[1].index(text)
            if not label(cells[j]):
                place[i] = j
    put_back = [i for i, j in place.items() if label(given[i]) and not label(cells[j])]
    order = [place[i] for i in sorted(place)]
    if order == sorted(order):
        for i, cell in enumerate(given):
            if i in place or not cell.metadata.get("nbgrader", {}).get("solution"):
                continue
            if any(label(other) == label(cell) for other in cells):
                continue  # more than one: a person has to choose
            before = max((k for k in place if k < i), default=-1)
            after = min((k for k in place if k > i), default=len(given))
            if not {i - 1, i + 1} & place.keys():
                continue
            gap = range(place.get(before, -1) + 1, place.get(after, len(cells)))
            free = [j for j in gap if not label(cells[j]) and texts[1][j] and not counts[0][texts[1][j]]]
            if cell.cell_type == "code":
                names = re.findall(r"^(?:def|class) (\w+)", cell.source, re.MULTILINE)
                free = [j for j in free if cells[j].cell_type == "code" and names and _defines(cells[j], names)]
            else:
                free = [j for j in free if cells[j].cell_type != "code" and after - before == 2]
            if len(free) == 1:
                put_back.append(i)
                place[i] = free[0]
    for i in put_back:
        j = place[i]
        new = getattr(nbformat.v4, f"new_{given[i].cell_type}_cell")
        cells[j] = new(cells[j].source, metadata={"nbgrader": dict(given[i].metadata.nbgrader)})
    return [label(given[i]) for i in sorted(put_back)]


def _defines(cell: NotebookNode, names: list[str]) -> bool:
    return all(re.search(rf"^(?:def|class) {name}\b", cell.source, re.MULTILINE) for name in names)


def text_of(source: str) -> str:
    """Return the text of a cell, without what is invisible: spaces at the ends of lines, and line ends of Windows."""
    return "\n".join(line.rstrip() for line in source.strip().splitlines())


def _same(one: str, other: str) -> bool:
    return text_of(one) == text_of(other)


def _listed(what: str, names: list[str]) -> str:
    return f"the {what}{'s' if len(names) > 1 else ''} {', '.join(names)}"
