"""The program `aigc-grade`: what a teacher types, from what students sent to marks."""

from pathlib import Path
from typing import Annotated

try:
    import nbformat
    import typer
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error.name} is not installed: it comes with an extra of this package. "
        'Install it with: pip install "aigc-course[instructor]"',
        name=error.name,
    ) from error
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from aigc_course.grading.check import check
from aigc_course.grading.intake import Intake, IntakeError, Roster, intake

app = typer.Typer(
    help="Grade a class, from what students sent to marks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Name = Annotated[str, typer.Argument(help="The assignment's name, such as vae.")]
Course = Annotated[
    Path, typer.Option(file_okay=False, metavar="FOLDER", help="Where everything about the course is kept.")
]


RosterFile = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="ROSTER.csv",
        help="The class, with the columns id, name, email; or Moodle's grading worksheet, or Canvas's gradebook.",
    ),
]


@app.callback()
def main() -> None:
    """Grade a class, from what students sent to marks."""


@app.command("release")
def release_command(
    assignment: Name,
    variants: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="ROSTER.csv",
            help="Make a paper of its own for each student of this class; the file is as for intake.",
        ),
    ] = None,
    course: Course = Path("course"),
) -> None:
    """Make what students are given: one notebook for all, or a paper of its own for each student.

    With papers, the questions are the same for everybody, and some things in them are not: a distribution, a number, a
    convention, the mistakes to be found. Whose answers were copied, from a friend or from the public solutions, answers
    other questions. Who gets what is drawn from the student's id and from FOLDER/papers/key, and who has
    a paper keeps it when the command is typed again. The other commands know by themselves who has which.

    Run it where the course's repository is. The notebooks are in FOLDER/release/ASSIGNMENT/. What is in FOLDER/papers/
    has the solutions: keep it to yourself.

    Exit status: 0 if all is well, 2 if nothing could be done.

    Examples:

        aigc-grade release vae

        aigc-grade release vae --variants roster.csv --course ~/teaching/cs101
    """
    from aigc_course.grading.papers import Papers, ReleaseError
    from aigc_course.grading.release import release_all, release_class

    root = Path()
    try:
        if variants is None:
            place, link = release_all(assignment, course, root)
            typer.echo(f"The notebook: {place}\nWhere it can be opened on Colab: {link}")
            return
        papers = release_class(assignment, course, Roster.read(variants), root)
    except (ReleaseError, IntakeError) as error:
        typer.echo(f"Error: {error}.", err=True)
        raise typer.Exit(2) from error
    given, console = Papers.read(assignment, course), Console()
    table = Table("Student", "Notebook", "What is theirs", title=Text(assignment))
    for student, chosen in papers.items():
        table.add_row(Text(student), Text(str(given.given(student))), Text("; ".join(chosen.values())))
    console.print(table)
    console.print(Text(f"{len(papers)} papers. Their solutions, for your eyes only: {course / 'papers' / assignment}"))


@app.command("intake")
def intake_command(
    assignment: Name,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="ZIP_OR_FOLDER", exists=True, help="What Moodle or Canvas gave you, or a folder of files."
        ),
    ],
    roster: RosterFile = None,
    course: Course = Path("course"),
    release: Annotated[
        Path | None,
        typer.Option(
            metavar="NOTEBOOK",
            help="The notebook that students were given. [default: notebooks/exercises/ASSIGNMENT.ipynb]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Take in what students sent: whose is each file, is it a notebook, can it be repaired?

    Originals are kept byte for byte, what is certain is repaired, all else is named with its reason. No student's code
    runs. Taking in the same again changes nothing. The result is in FOLDER/submitted/ASSIGNMENT/, a folder for each
    student, and report.json has every file.

    Exit status: 0 if all is well, 1 if something needs a look, 2 if nothing could be done.

    Examples:

        aigc-grade intake vae "CS101-vae-1234.zip" --roster roster.csv

        aigc-grade intake vae submissions.zip --roster gradebook.csv --course ~/teaching/cs101

        aigc-grade intake vae sent_by_mail/ --roster roster.csv
    """
    given = release or Path("notebooks", "exercises", f"{assignment}.ipynb")
    try:
        done = intake(assignment, source, _release(given), course, None if roster is None else Roster.read(roster))
    except IntakeError as error:
        typer.echo(f"Error: {error}.", err=True)
        raise typer.Exit(2) from error
    _show(done, course / "submitted" / assignment)
    raise typer.Exit(1 if done.looks else 0)


@app.command("run")
def run_command(
    assignment: Name,
    course: Course = Path("course"),
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="How many are marked side by side. [default: the number of processors]",
            show_default=False,
        ),
    ] = None,
    sandbox: Annotated[
        bool,
        typer.Option(
            "--sandbox/--no-sandbox",
            help="Without a sandbox the students' code runs with your rights, and every mark says so.",
        ),
    ] = True,
    scheduler: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="A Dask scheduler, such as tcp://10.0.0.7:8786, whose workers do the marking.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Mark what was taken in: each notebook by itself, in a sandbox without the solutions, the network or your files.

    Run it where the course's repository is, since that has the solutions. Whatever stops it, the same command goes on
    where it was. What a student gets is in FOLDER/marked/ASSIGNMENT/STUDENT.json: points, and for what failed the
    reason, in words for the student. Answers in words are left for a person.

    Exit status: 0 if all is well, 1 if something needs a look, 2 if nothing could be done.

    Examples:

        aigc-grade run vae

        aigc-grade run vae --course ~/teaching/cs101 --jobs 4

        aigc-grade run vae --scheduler tcp://10.0.0.7:8786
    """
    # Here, since they import torch, and what Windows does not have.
    from aigc_course.grading.batch import MarkingError, mark_class, taken_in
    from aigc_course.grading.sandbox import SandboxUnavailable

    marked = {}
    columns = (TextColumn("Marking"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        total = len(taken_in(assignment, course))
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("", total=total)
            for student, content in mark_class(assignment, course, jobs=jobs, sandboxed=sandbox, scheduler=scheduler):
                marked[student] = content
                progress.advance(task)
    except SandboxUnavailable as error:
        typer.echo(
            f"Error: {error}\n\nNothing was run. With --no-sandbox the students' code has your rights.", err=True
        )
        raise typer.Exit(2) from error
    except (MarkingError, ModuleNotFoundError) as error:
        typer.echo(f"Error: {error}.", err=True)
        raise typer.Exit(2) from error
    table, console = Table("Student", "Points", "Needs a look", title=Text(assignment)), Console()
    for student, content in sorted(marked.items()):
        points = f"{sum(content['points'].values()):g} of {sum(content['full'].values()):g}"
        looks = "; ".join(content["looks"])
        table.add_row(Text(student), "—" if content["problem"] else points, Text(content["problem"] or looks))
    console.print(table)
    problems = sum(bool(content["problem"]) for content in marked.values())
    console.print(f"{len(marked) - problems} of {len(marked)} marked. The files: {course / 'marked' / assignment}")
    if not sandbox:
        console.print("These marks were made without a sandbox, and their files say so.")
    raise typer.Exit(1 if any(content["problem"] or content["looks"] for content in marked.values()) else 0)


@app.command("review")
def review_command(
    assignment: Name,
    course: Course = Path("course"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where the page is served, on this machine only.")] = 8899,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page at once.")] = True,
) -> None:
    """Read the answers in words, in nbgrader's formgrader: without names, in random order, beside the rubric.

    Points and comments are kept as they are typed. Stop it with Ctrl-C; then they are written into
    FOLDER/by_hand/ASSIGNMENT.csv, from which `report` takes them. Type the same again to go on.

    Exit status: 0 if it ran, 2 if nothing could be done.

    Examples:

        aigc-grade review vae

        aigc-grade review vae --course ~/teaching/cs101 --no-browser
    """
    from aigc_course.grading import review  # here, since it imports torch and nbgrader
    from aigc_course.grading.batch import MarkingError

    try:
        waiting = review.prepare(assignment, course)
        typer.echo(f"{waiting} answers wait for a reader. Stop with Ctrl-C.")
        review.serve(assignment, course, port, browser)
        review.collect(assignment, course)
    except (MarkingError, review.ServerError) as error:
        typer.echo(f"Error: {error}.", err=True)
        raise typer.Exit(2) from error
    typer.echo(f"The points are in {course / 'by_hand' / f'{assignment}.csv'}.")


@app.command("check")
def check_command(
    notebook: Annotated[Path, typer.Argument(metavar="NOTEBOOK", help="The notebook that is to be handed in.")],
    assignment: Annotated[
        str, typer.Option(metavar="NAME", help="The assignment. [default: what its cells say]", show_default=False)
    ] = "",
) -> None:
    """For students, before handing in: is every answer there, and can it be read?

    Nothing is run, and nothing says whether an answer is right.

    Exit status: 0 if all answers are there, 1 if not, 2 if there is no notebook of an assignment.

    Example:

        aigc-grade check vae.ipynb
    """
    try:
        found = check(notebook, assignment)
    except ValueError as error:
        typer.echo(f"Error: {notebook}: {error}.", err=True)
        raise typer.Exit(2) from error
    console = Console()
    console.print(Text(f"{notebook}: {found.whole} of {found.answers} answers of “{found.assignment}” are there."))
    for problem in found.problems:
        console.print(Text(f"- {problem}"))
    for note in found.notes:
        console.print(Text(f"- {note}: it will be put right, and of code that you added there only imports stay"))
    raise typer.Exit(1 if found.problems else 0)


@app.command("report")
def report_command(
    assignment: Name,
    course: Course = Path("course"),
    roster: RosterFile = None,
    machine_only: Annotated[
        bool, typer.Option("--machine-only", help="Score without the answers in words, read or not.")
    ] = False,
) -> None:
    """Write what was marked into pages and tables: feedback for each student, and what the teacher needs.

    In FOLDER/reports/ASSIGNMENT/: feedback/STUDENT.html, to be sent; grades.csv, in nbgrader's columns; moodle.csv or
    canvas.csv, the roster with the grades filled in, if it came from there; class.html, with what needs a look, the
    hardest questions, the most common mistakes and answers that look alike; viva.html, with questions to each student
    on their own work; and by_hand.csv, the answers in words that wait for a reader (see `review`).

    Exit status: 0 if everybody has a score, 1 if not, 2 if nothing could be done.

    Examples:

        aigc-grade report vae

        aigc-grade report vae --roster moodle-worksheet.csv --machine-only
    """
    from aigc_course.grading.batch import MarkingError  # here, since it imports torch
    from aigc_course.grading.report import report

    try:
        if (course / "review" / assignment).exists():
            from aigc_course.grading import review  # here, since it imports nbgrader

            review.collect(assignment, course)
        people = None if roster is None else Roster.read(roster)
        students = report(assignment, course, roster=people, worksheet=roster, machine_only=machine_only)
    except (MarkingError, IntakeError) as error:
        typer.echo(f"Error: {error}.", err=True)
        raise typer.Exit(2) from error
    console = Console()
    without = sum(bool(marks.problem) for marks in students)
    unread = sum(bool(marks.unread) for marks in students)
    console.print(
        f"{len(students)} students: {without} without marks, {unread} with answers in words that nobody has read.",
        "" if machine_only or not unread else "Their scores are empty.",
    )
    console.print(Text(f"The pages and tables: {course / 'reports' / assignment}"))
    raise typer.Exit(1 if without or (unread and not machine_only) else 0)


def _release(path: Path) -> nbformat.NotebookNode:
    if not path.exists():
        raise IntakeError(
            f"there is no {path}: run `make exercises` in the course's repository, or name the notebook that students "
            "were given with --release"
        )
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises whatever it runs into
        raise IntakeError(f"{path} is not a notebook ({type(error).__name__}: {error})") from error


def _show(done: Intake, folder: Path) -> None:
    """Print what happened: a table of students, one of files that are nobody's, and the sums."""
    report, console = done.report, Console()
    students = Table("Student", "", "Notebook", "Repaired", title="Students")
    for name, about in report["students"].items():
        change = done.changes.get(name, "from an earlier intake")
        notebook = "—" if about["notebook"] is None else about["notebook"]["from"]
        # Text, since in a str a student could write colours and links.
        students.add_row(Text(name), change, Text(notebook), Text("; ".join(about["repairs"])))
    looks = Table("Whose", "What needs a look", title="Needs a look")
    for name, about in report["students"].items():
        for reason in about["look"]:
            looks.add_row(Text(name), Text(reason))
    ignored = 0
    for entry in report["files"]:
        if entry["student"] is None and entry["outcome"] == "look":
            looks.add_row("?", Text(f"{entry['path']}: {entry['reason']}"))
        ignored += entry["outcome"] == "ignored"
    if report["students"]:
        console.print(students)
    if looks.row_count:
        console.print(looks)
    notebooks = sum(about["notebook"] is not None for about in report["students"].values())
    console.print(
        f"{notebooks} of {len(report['students'])} students have a notebook; {looks.row_count} things need a look; "
        f"{len(report['missing'])} of the roster sent nothing; {len(report['files'])} files read, {ignored} ignored."
    )
    if report["missing"]:
        console.print(Text(f"Nothing came from: {', '.join(report['missing'])}"))
    if done.changes and set(done.changes.values()) == {"unchanged"}:
        console.print("Everything is unchanged.")
    console.print(Text(f"The report: {folder / 'report.json'}"))
