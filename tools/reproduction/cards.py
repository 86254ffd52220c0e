"""What README.md, THIRD_PARTY.md and CITATION.cff say of the papers, made from their cards."""

from common.paper import Article
from tools.papers import papers
from tools.reproduction.document import Grid, markdown


def papers_table() -> str:
    """What each folder holds and how to try it."""
    rows = [
        [f"[{name}/]({name}/README.md)", paper.title, paper.data, f"`{paper.example}`"]
        for name, paper in papers().items()
    ]
    return markdown([Grid(("folder", "paper", "data", "for example"), rows)])


def originals() -> str:
    """Where the original code of each paper is, and its licence."""
    rows = [[paper.reference, paper.code, paper.licence] for paper in papers().values()]
    return markdown([Grid(("paper", "original code", "its licence"), rows)])


def references() -> str:
    """The articles as references of a CITATION.cff."""
    articles = [article for paper in papers().values() for article in paper.articles]
    return "references:\n" + "".join(f"{line}\n" for article in articles for line in _reference(article))


def _reference(article: Article) -> list[str]:
    fields = {
        "journal": article.journal and f'"{article.journal}"',
        **{name: getattr(article, name) for name in ("volume", "issue", "start", "end", "year", "doi")},
        "url": article.url and f'"{article.url}"',
    }
    return [
        "  - type: article",
        f'    title: "{article.title}"',
        "    authors:",
        *(f"      - {{{_person(author)}}}" for author in article.authors),
        *(f"    {name}: {value}" for name, value in fields.items() if value),
    ]


def _person(author: str) -> str:
    family, _, given = author.partition(", ")
    return f"family-names: {family}" + (f", given-names: {given}" if given else "")
