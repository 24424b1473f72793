"""Prepare the pages that the book is built from, or the notebooks that Colab opens; move to another repository.

python tools/book.py stage --profile cpu
python tools/book.py publish --site https://example.org/course --out build/publish
python tools/book.py move https://github.com/somebody/their-course
"""

import argparse
import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import yaml
from whole import write_whole

ROOT = Path(__file__).resolve().parent.parent

# The introduction shows one picture per part: the one whose cell has the tag "gallery", and these words below it.
GALLERY = {
    "foundations/gaussian_mixture": "Digits from one bell curve, and from a mixture of them.",
    "vae/variational_autoencoder": "One network, trained three times: the weight of its KL term decides what it draws.",
    "likelihood/autoregressive_pixels": "The upper halves were given; the network drew the rest, pixel by pixel.",
    "gan/adversarial_game": "Two networks play against each other, at four moments of their game.",
    "diffusion/denoising_diffusion": "From noise to a digit, and what the network takes for the digit on the way.",
    "language/attention": "Where a small Transformer looks while it looks something up.",
    "rl/q_learning": "What each place on slippery ice is worth. The best step may lead away from the goal.",
    "evaluation/image_quality": "Pictures that were made so that the usual measures call them good.",
    "practice/own_data": "What a small conditional VAE makes of a folder of coloured pictures.",
}


def chapters(root: Path = ROOT) -> list[str]:
    """Return the chapters in the book's order, as `part/chapter`; assignments are not among them."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    notebooks = [file.removeprefix("notebooks/") for file in files if file.startswith("notebooks/")]
    return [name for name in notebooks if not name.startswith("exercises/")]


def repository(root: Path = ROOT) -> str:
    """Return the address of the public repository, which `_config.yml` holds."""
    return yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]


def address_files(root: Path = ROOT) -> list[Path]:
    """Return the files that hold the repository's address because they cannot look it up; a test keeps them equal.

    A notebook on Colab stands alone, and a command on a page is copied as it is.
    """
    pages = [root / name for name in ("_config.yml", "README.md", "book/how_to_use.md")]
    return pages + [root / "notebooks" / f"{name}.py" for name in chapters(root)]


def move(address: str, root: Path = ROOT) -> None:
    """Put the address of another public repository into every file that holds it."""
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+(?<!\.git)", address):
        raise ValueError(f"address is {address!r}; it takes https://github.com/<owner>/<repository>")
    old = repository(root)
    for path in address_files(root):
        _write(path, re.sub(rf"{re.escape(old)}(?![\w-])", address, path.read_text(encoding="utf-8")))


def page(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return an executed notebook as the book shows it and Colab opens it.

    Without the cell that papermill injected, since a reader's own run chooses its profile itself; and with pictures
    as wide as they were drawn, not as their doubled number of pixels would have it.
    """
    notebook.cells = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            width = output.get("metadata", {}).get("image/png", {}).get("width")
            if width:
                cell.metadata.setdefault("mystnb", {}).setdefault("image", {})["width"] = f"{width}px"
    return notebook


def stage(profile: str, root: Path = ROOT) -> None:
    """Copy the profile's notebooks beside their sources, where the book finds them, and write the page of results.

    A chapter that was not run in this profile appears with its code and without outputs.
    """
    for name in chapters(root):
        built = root / "build" / profile / f"{name}.ipynb"
        if built.exists():
            notebook = page(nbformat.read(built, as_version=4))
        else:
            print(f"{name} was not run in the profile {profile}: its page has no outputs")
            notebook = jupytext.read(root / "notebooks" / f"{name}.py")
            for number, cell in enumerate(notebook.cells):
                cell.id = f"cell-{number:03d}"
        _write(root / "notebooks" / f"{name}.ipynb", nbformat.writes(notebook) + "\n")
    _write(root / "book" / "results.md", results_page(profile, root))
    _write(root / "book" / "gallery.md", gallery(profile, root))
    _write(root / "book" / "plan.md", plan(profile, root))
    _write(root / "book" / "sprint_table.md", sprint_table(root))


# What the sprint's page says above each track's table: the figure's name there, and its digits after the point.
SPRINT = {"text": ("nats per character", 3), "likelihood": ("nats per picture", 2), "digits": ("Fréchet", 2)} | {
    "breakout": ("score", 1)
}


def sprint_table(root: Path = ROOT) -> str:
    """Return the entries of the CPU sprint, track by track, the best first."""
    path = root / "aigc_course" / "benchmarks" / "sprint.json"
    entries = json.loads(path.read_text(encoding="utf-8"))["entries"]
    lines = []
    for track, (figure, digits) in SPRINT.items():
        rows = [row for row in entries if row["track"] == track]
        rows.sort(key=lambda row: row["mean"], reverse=track == "breakout")
        lines += [
            f"### {track}",
            "",
            f"| Entry | {figure} | CPU-seconds | operations | weights | version |",
            "| --- " * 6 + "|",
        ]
        for row in rows:
            exponent = len(f"{row['operations']:.0f}") - 1
            lines.append(
                f"| `{row['name']}`: {row['what']} | {row['mean']:.{digits}f} ± {row['spread'] / 2:.{digits}f} "
                f"| {max(run['cpu_seconds'] for run in row['runs']):.0f} "
                f"| ${row['operations'] / 10**exponent:.1f} \\cdot 10^{{{exponent}}}$ | {row['runs'][0]['weights']:,} "
                f"| {row['commit']}, {row['date']} |"
            )
        lines += [] if rows else ["| no entry has been checked yet | | | | | |"]
        lines.append("")
    return "\n".join(lines)


def plan(profile: str, root: Path = ROOT) -> str:
    """Return the instructors' table of weeks: each with its chapters, how long they took to run, and what to cut."""
    weeks = yaml.safe_load((root / "book" / "plan.yml").read_text(encoding="utf-8"))
    lines = [
        "| Week | Topic | Chapters, and how long they took to run | If time is short, leave out |",
        "| --- " * 4 + "|",
    ]
    for number, week in enumerate(weeks, start=1):
        links = []
        for name in week["chapters"]:
            title = chapter_title(root / "notebooks" / f"{name}.py")
            result = recorded(name, profile, root)
            links.append(
                f"[{title}](../notebooks/{name}.ipynb), {_duration(result['seconds']) if result else 'not run'}"
            )
        if "assignment" in week:
            name = week["assignment"]
            links.append(f"assignment [`{name}`](../notebooks/exercises/{name}.ipynb)")
        lines.append(f"| {number} | {week['topic']} | {'; '.join(links)} | {week['cut']} |")
    return "\n".join(lines) + "\n"


def recorded(name: str, profile: str, root: Path = ROOT) -> dict[str, Any] | None:
    """Return what a chapter recorded when it was run in this profile; None if it was not."""
    path = root / "build" / profile / "results" / f"{Path(name).name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def gallery(profile: str, root: Path = ROOT) -> str:
    """Return the introduction's pictures, one card per part whose chapter was run, and copy the pictures beside it."""
    lines = [
        f"From the runs of this copy of the book, in the profile `{profile}`; each picture leads to its chapter.",
        "",
    ]
    if profile == "smoke":
        lines[0] += " **In this profile nothing is trained for long: the pictures only show that every line runs.**"
    cards = []
    for name, words in GALLERY.items():
        built = root / "build" / profile / f"{name}.ipynb"
        if not built.exists():
            continue
        cell = gallery_cell(nbformat.read(built, as_version=4))
        data = next(output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {}))
        picture = Path("gallery") / f"{Path(name).name}.png"
        _write(root / "book" / picture, base64.b64decode(data))
        title = chapter_title(root / "notebooks" / f"{name}.py")
        cards += [f":::{{grid-item-card}} {title}", f":link: ../notebooks/{name}", ":link-type: doc"]
        cards += [
            f":img-top: {picture.as_posix()}",
            f":img-alt: {json.dumps(cell.metadata.mystnb.image.alt, ensure_ascii=False)}",
            "",
            words,
            ":::",
        ]
    if not cards:
        return "None of the chapters with a picture for this page was run in this copy of the book.\n"
    return "\n".join([*lines, "::::{grid} 1 2 2 2", ":gutter: 3", "", *cards, "::::"]) + "\n"


def gallery_cell(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the one cell whose picture stands in the introduction."""
    [cell] = [cell for cell in notebook.cells if "gallery" in cell.metadata.get("tags", [])]
    return cell


def results_page(profile: str, root: Path = ROOT) -> str:
    """Return the generated page: every chapter's device, time and recorded figures."""
    lines = [
        "# Measured times and figures",
        "",
        f"This page is generated from what the chapters recorded when this copy of the book was made, in the profile "
        f"`{profile}`. Times are for the whole notebook, from its first cell to its last.",
    ]
    if profile == "smoke":
        lines += ["", "**The profile `smoke` only checks that every line runs: the figures below mean nothing.**"]
    for name in chapters(root):
        title = chapter_title(root / "notebooks" / f"{name}.py")
        lines += ["", f"## [{title}](../notebooks/{name}.ipynb)", ""]
        result = recorded(name, profile, root)
        if result is None:
            lines.append("Not run in this copy of the book.")
            continue
        lines.append(f"{_duration(result['seconds'])} on {result['device']}.")
        lines += ["", "| figure | value |", "| --- | --- |"]
        figures = {k: v for k, v in result.items() if k not in ("chapter", "profile", "device", "seconds")}
        lines += [f"| {_words(key)} | {_value(value)} |" for key, value in figures.items()]
    return "\n".join(lines) + "\n"


def chapter_title(source: Path) -> str:
    """Return the text of the first heading of a chapter's source."""
    match = re.search(r"^# # (.+)$", source.read_text(encoding="utf-8"), re.M)
    if match is None:
        raise ValueError(f"{source} has no title; its first Markdown cell begins with a line '# Title'.")
    return match[1]


def _duration(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min {seconds % 60} s"


def _words(key: str) -> str:
    return " ".join(word.upper() if word in ("elbo", "iwae", "kl", "em") else word for word in key.split("_"))


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_value(item) for item in value)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_value(item)}" for key, item in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def publish(site: str, out: Path, root: Path = ROOT) -> None:
    """Write the staged notebooks to `out` as Colab opens them: links between pages lead to the site."""
    for source in sorted((root / "notebooks").glob("*/*.ipynb")):
        notebook = nbformat.read(source, as_version=4)
        folder = source.parent.relative_to(root)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = _absolute(cell.source, site.rstrip("/"), folder)
        _write(out / source.relative_to(root), nbformat.writes(notebook) + "\n")


def _absolute(text: str, site: str, folder: Path) -> str:
    def address(match: re.Match[str]) -> str:
        target = os.path.normpath(folder / match[1]).replace(os.sep, "/")
        return f"]({site}/{target}.html{match[3] or ''})"

    return re.sub(r"\]\((?!\w+:)([\w./-]+)\.(ipynb|md)(#[\w-]+)?\)", address, text)


def _write(path: Path, content: str | bytes) -> None:
    """Write only what changed: an unchanged page is not built again."""
    content = content.encode() if isinstance(content, str) else content
    if not path.exists() or path.read_bytes() != content:
        write_whole(path, content)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("stage")
    one.add_argument("--profile", required=True)
    two = commands.add_parser("publish")
    two.add_argument("--site", required=True)
    two.add_argument("--out", type=Path, required=True)
    three = commands.add_parser("move")
    three.add_argument("address")
    arguments = parser.parse_args()
    if arguments.command == "stage":
        stage(arguments.profile)
    elif arguments.command == "publish":
        publish(arguments.site, arguments.out)
    else:
        move(arguments.address)


if __name__ == "__main__":
    main()
