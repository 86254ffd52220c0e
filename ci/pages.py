"""What the documentation site holds beside its settings in mkdocs.yml: a hook of mkdocs.

Its pages lie as they do in the repository, so that links between them work in both places. The reference has a page for
each package of `common`, and one with the networks of each paper; their text is the docstrings.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("", "docs", "gac", "ma_snn", "sdt_v3", "sdt_v3/Classification", "sma", "spikingformer", "examples")
"""Where pages and what they link to lie."""
PAGE = re.compile(r"\.(md|png|ipynb)$")


def on_config(config: MkDocsConfig) -> None:
    """Add the reference to the contents."""
    config.nav.append({"Reference": [{name: f"reference/{name}.md"} for name in references()]})


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages of the repository and of the reference, with the files of the theme."""
    found = Files(file for file in files if not PAGE.search(file.src_uri) and not file.src_uri.endswith(".json"))
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).iterdir()):
            if PAGE.search(path.name):
                uri = path.relative_to(ROOT).as_posix()
                found.append(File.generated(config, uri, abs_src_path=str(path)))
    for name, modules in references().items():
        text = "\n\n".join((f"# {name}", *(f"::: {module}" for module in modules))) + "\n"
        found.append(File.generated(config, f"reference/{name}.md", content=text))
    return found


def references() -> dict[str, list[str]]:
    """{name of a page: its modules}."""
    common = ROOT / "common"
    single = [path for path in sorted(common.glob("*.py")) if path.name != "__init__.py"]
    packages = [path.parent for path in sorted(common.glob("*/__init__.py"))]
    papers = [path.parent for path in sorted(ROOT.glob("*/models/__init__.py"))]
    return {
        "common": [module(path) for path in single],
        **{module(folder): list(modules(folder)) for folder in packages},
        **{module(folder): list(modules(folder)) for folder in papers},
    }


def modules(folder: Path) -> Iterator[str]:
    """The modules of a package that have anything public."""
    for path in sorted(folder.glob("*.py")):
        if re.search(r"^(def|class) [^_]", path.read_text(), re.MULTILINE):
            yield module(path)


def module(path: Path) -> str:
    """The name by which a file or folder is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)
