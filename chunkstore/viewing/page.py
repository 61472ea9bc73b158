"""How does all that there is to say about a file become one page?

The page is one file that needs nothing else: no network, no server, no script. What comes from the
file is text, whatever it holds.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from chunkstore.viewing import sections
from chunkstore.viewing.elements import how_much, json_block
from chunkstore.viewing.style import POLICY, STYLE
from chunkstore.viewing.text import (
    escaped,
    format_nbytes,
    format_ratio,
    isolated,
    plural,
)

if TYPE_CHECKING:
    from chunkstore.viewing.looking import Look

# Says whose page it is: it may be replaced without asking.
GENERATOR: Final = "chunkstore view"


def page_of(look: Look) -> str:
    """Return a file's page, HTML in UTF-8.

    The same file, labels and seed give the same page.
    """
    store = look.store
    name = PurePath(store.path).name or store.path
    parts = [("overview", "Overview", sections.overview(store) + sections.array_table(store))]
    if look.damage:
        parts.insert(0, ("damage", "Damage", sections.damage(look)))
    labelling = look.labelling
    if labelling is not None and labelling.counts is not None:
        title = f"Labels: {labelling.name or '(root)'}"
        counts = sections.class_counts(labelling.summary, labelling.names)
        parts.append(("labels", title, counts + how_much(labelling.summary)))
    mixing = sections.mixing(look)
    if mixing:
        parts.append(("mixing", "Mixing along the file", mixing))
    for number, array in enumerate(look.arrays):
        title = f"Array {array.name}" if array.name else "Array (root)"
        parts.append((f"array-{number}", title, sections.array_part(array)))
    attributes = {
        key: value for key, value in store.attributes.items() if key != sections.IMPORT_ATTRIBUTE
    }
    about = json_block(
        "Where it came from", store.attributes.get(sections.IMPORT_ATTRIBUTE)
    ) + json_block("Attributes of the file", attributes)
    if about:
        parts.append(("attributes", "Provenance and attributes", about))
    body = "".join(
        f'<section id="{key}" aria-labelledby="{key}-title"'
        f"{' class=bad' if key == 'damage' else ''}>"
        f'<h2 id="{key}-title">{escaped(title)}</h2>{content}</section>'
        for key, title, content in parts
    )
    links = "".join(
        f'<li><a href="#{key}">{isolated(title, 40)}</a></li>' for key, title, _ in parts
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<meta name="generator" content="{GENERATOR}">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escaped(name)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#main">Skip to the content</a>\n'
        f'<header><p class="kicker">chunkstore file</p><h1>{isolated(name, 200)}</h1>'
        f'<p class="lead">{_lead(look)}</p></header>\n'
        f'<nav aria-label="On this page"><ul>{links}</ul></nav>\n'
        f'<main id="main" tabindex="-1">\n{body}\n</main>\n'
        f"<footer>{_footer(look)}</footer>\n</body>\n</html>\n"
    )


def _lead(look: Look) -> str:
    store = look.store
    ratio = store.nbytes / store.encoded_nbytes if store.encoded_nbytes else None
    words = [
        plural(store.num_samples, "sample"),
        plural(len(store), "array"),
        f"{format_nbytes(store.file_nbytes)} on disk",
    ]
    if ratio is not None:
        words.append(f"{format_nbytes(store.nbytes)} decoded, ratio {format_ratio(ratio)}")
    return " &middot; ".join(words)


def _footer(look: Look) -> str:
    read = (
        "Every sample was read."
        if look.is_exact
        else "Samples from all over the file were read; each part says how many."
    )
    notes = "".join(f"<p>{isolated(note, 500)}</p>" for note in look.notes)
    return f"<p>Made by {GENERATOR}. {read}</p>{notes}"
