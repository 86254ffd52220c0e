"""The documentation site: it builds without a warning, every link in it leads somewhere, and it needs no network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocstrings")
ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stderr
    pages = [path.read_text() for path in tmp_path.rglob("*.html")]
    assert len(pages) > 25
    fetched = r"""<(?:script|img|link rel="(?:stylesheet|preconnect)")[^>]* (?:src|href)="https?:"""
    assert not any(re.search(fetched, page) for page in pages)
    assert "IntegerLIF" in (tmp_path / "reference" / "common.neurons.html").read_text()
