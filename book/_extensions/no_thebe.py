"""A Sphinx extension that takes out what jupyter-book puts in unasked: the loader of live code cells.

jupyter-book 1.x always loads sphinx_thebe, which names a server on every page, and declares its constants twice, which
is an error on the browser's console.
"""

from typing import Any

from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """Drop sphinx_thebe's listeners once all extensions are loaded."""
    app.connect("config-inited", _drop_thebe)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _drop_thebe(app: Sphinx, config: Any) -> None:
    for listeners in app.events.listeners.values():
        for listener in list(listeners):
            if listener.handler.__module__.startswith("sphinx_thebe"):
                app.disconnect(listener.id)
    app.registry.css_files = [file for file in app.registry.css_files if file[0] != "sphinx-thebe.css"]
