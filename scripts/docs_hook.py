"""The site's own part of mkdocs: links that leave docs/ open a page of the site, and nothing is loaded from elsewhere.

Pages are written for a plain git host, where ``../examples/x.py`` opens the file. Here each such file or directory gets
a page under repository/ that shows it as it is.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
ALWAYS = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "examples")
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)\s#]+)(?=[)#])")
LOADS = re.compile(
    r"<(?:script|link|img|source|iframe|video|object)\b"
    r"""(?!\srel=["']?canonical)[^>]*\s(?:src|srcset|href|data)=["']?(?:https?:)?//"""
)
LANGUAGES = {".py": "python", ".sh": "sh", ".yml": "yaml", ".yaml": "yaml", ".json": "json", ".conf": "nginx"}

_bases: dict[str, str] = {}  # a page of the site: the directory of the repository that its links start from
_pages: dict[str, str] = {"README.md": "index.md"}  # a path of the repository: its page


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for file in files.documentation_pages():
        _bases[file.src_uri] = posixpath.dirname(f"docs/{file.src_uri}")
    wanted = [path for path in ALWAYS if (ROOT / path).exists()]
    for file in list(files.documentation_pages()):
        wanted += _leads_to(file.src_uri, file.content_string)
    while wanted:
        path = wanted.pop()
        if path in _pages and (path == "README.md" or files.get_file_from_path(_pages[path])):
            continue
        uri, base, content = _shown(path)
        _pages[path], _bases[uri] = uri, base
        files.append(File.generated(config, uri, content=content, inclusion=InclusionLevel.NOT_IN_NAV))
        wanted += _leads_to(uri, content)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    here = posixpath.dirname(page.file.src_uri) or "."

    def on_the_site(link: re.Match[str]) -> str:
        path = _path(page.file.src_uri, link[0])
        inside = path.startswith("docs/") and (ROOT / path).is_file()
        uri = path.removeprefix("docs/") if inside else _pages.get(path)
        return link[0] if uri is None else posixpath.relpath(uri, here)

    return LINK.sub(on_the_site, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    # docstrings announce a literal block by two colons
    return html.replace("<p>::</p>", "").replace("::</p>", ":</p>")


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    if found := LOADS.search(output):
        raise PluginError(f"{page.file.src_uri}: loads something from elsewhere: {found[0]}")
    return output


def _path(uri: str, link: str) -> str:
    """The path in the repository that a link of a page leads to."""
    return posixpath.normpath(posixpath.join(_bases[uri], link))


def _leads_to(uri: str, text: str) -> list[str]:
    paths = [_path(uri, link) for link in LINK.findall(text)]
    return [path for path in paths if not path.startswith(("docs/", "../")) and (ROOT / path).exists()]


def _shown(path: str) -> tuple[str, str, str]:
    """The page that shows a file or directory: its name, the directory that its links start from, its text."""
    place = ROOT / path
    if place.suffix == ".md":
        return f"repository/{path}", posixpath.dirname(path), place.read_text()
    if place.is_file():
        language = LANGUAGES.get(place.suffix, "text")
        return f"repository/{path}.md", path, f"# {path}\n\n````{language}\n{place.read_text()}\n````\n"
    if (place / "README.md").exists():
        return f"repository/{path}/README.md", path, (place / "README.md").read_text()
    names = sorted(each.name for each in place.iterdir() if not each.name.startswith(("_", ".")))
    return f"repository/{path}.md", path, f"# {path}\n\n" + "".join(f"- [{name}]({name})\n" for name in names)
