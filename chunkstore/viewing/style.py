"""How does the page look, on a wide screen, a phone, on paper, by day and by night?"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

# Colours of classes: each has a contrast of at least 3 with the backgrounds of day and night.
CLASS_COLOURS: Final = (
    "#3277b8",
    "#d9480f",
    "#2b8a3e",
    "#aa4cc6",
    "#b07d00",
    "#0c8599",
    "#d6336c",
    "#7a6a4f",
    "#5c6ee0",
)
OTHER_COLOUR: Final = "#7d848d"

DAY: Final = {
    "page": "#f7f8f9",
    "card": "#ffffff",
    "ink": "#1b1e23",
    "quiet": "#565d67",
    "line": "#d9dde2",
    "accent": "#0b5cad",
    "area": "#b9d3ee",
    "bad": "#b42318",
    "good": "#1f7a34",
}
NIGHT: Final = {
    "page": "#121418",
    "card": "#1b1e24",
    "ink": "#e9ebee",
    "quiet": "#a9b0ba",
    "line": "#363b44",
    "accent": "#82b8f2",
    "area": "#2c4766",
    "bad": "#ff9085",
    "good": "#7fd491",
}


def _variables(colours: dict[str, str]) -> str:
    return ";".join(f"--{name}:{value}" for name, value in colours.items())


_CLASSES: Final = "".join(
    f".c{number}{{fill:{colour}}}" for number, colour in enumerate(CLASS_COLOURS)
)

STYLE: Final = (
    f":root{{color-scheme:light dark;{_variables(DAY)}}}"
    f"@media (prefers-color-scheme:dark){{:root{{{_variables(NIGHT)}}}}}"
    f"{_CLASSES}.cx{{fill:{OTHER_COLOUR}}}"
    """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-padding-top:1rem}
body{margin:0;background:var(--page);color:var(--ink);
 font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;
 overflow-wrap:anywhere}
header,nav,main,footer{max-width:70rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:2rem}
h1{font-size:clamp(1.4rem,4vw,2.1rem);line-height:1.2;margin:.1rem 0 .4rem;letter-spacing:-.01em}
h2{font-size:1.25rem;line-height:1.3;margin:0 0 .5rem}
h3{font-size:.95rem;margin:0 0 .4rem}
figure+h3{margin-top:1.2rem}
p{margin:.3rem 0}
.kicker{color:var(--quiet);font-size:.8rem;letter-spacing:.08em;text-transform:uppercase;margin:0}
.lead{font-size:1.05rem;color:var(--quiet)}
.quiet{color:var(--quiet);font-size:.875rem}
a{color:var(--accent)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px;border-radius:3px}
.skip{position:absolute;left:-9999px}
.skip:focus{left:1rem;top:.5rem;z-index:1;background:var(--card);padding:.5rem .9rem}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:.4rem;padding:0;margin:1rem 0 0}
nav a{display:inline-block;padding:.3rem .75rem;border:1px solid var(--line);border-radius:99px;
 background:var(--card);text-decoration:none;font-size:.875rem}
nav a:hover{border-color:var(--accent)}
main{padding-bottom:1rem}
main:focus{outline:none}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;
 padding:1.1rem 1.25rem;margin:1rem 0}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.7rem 1.2rem;
 margin:.8rem 0}
.facts div{min-width:0}
.facts dt{color:var(--quiet);font-size:.8rem}
.facts dd{margin:0;font-variant-numeric:tabular-nums;font-weight:550}
.scroll{overflow-x:auto;margin:.6rem 0}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums;width:100%}
caption{text-align:left;color:var(--quiet);padding-bottom:.3rem}
th,td{text-align:left;padding:.35rem .9rem .35rem 0;border-bottom:1px solid var(--line);
 vertical-align:top;overflow-wrap:normal}
thead th{color:var(--quiet);font-weight:500;white-space:nowrap}
tbody th{font-weight:600;overflow-wrap:anywhere;min-width:6rem}
td.n,th.n{text-align:right;white-space:nowrap}
.wide-table td{white-space:nowrap}
.counts td:last-child{width:55%;min-width:6rem;padding-right:0}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));
 gap:1.2rem 2rem;margin:1rem 0 .3rem}
figure{margin:0;min-width:0}
figcaption{color:var(--quiet);font-size:.8rem;margin-top:.3rem}
svg.wide{display:block;width:100%;height:7.5rem;border-bottom:1px solid var(--quiet)}
svg.square{display:block;width:100%;max-width:32rem;aspect-ratio:1;border:1px solid var(--line);
 border-radius:6px}
svg.bar{display:block;width:100%;height:.7rem;margin-top:.4rem}
.ink{fill:var(--accent)}
.area{fill:var(--area)}
.line{fill:none;stroke:var(--accent);stroke-width:2}
.dot{fill-opacity:.75}
.ends{display:flex;justify-content:space-between;gap:1rem;color:var(--quiet);font-size:.8rem;
 font-variant-numeric:tabular-nums}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1rem;padding:0;margin:.5rem 0 0;
 font-size:.8rem}
.legend svg{width:.75rem;height:.75rem;margin-right:.35rem;vertical-align:-.06rem}
.sheet{list-style:none;display:grid;gap:.6rem;padding:0;margin:.8rem 0;
 grid-template-columns:repeat(auto-fill,minmax(6.25rem,1fr))}
.sheet.small{grid-template-columns:repeat(auto-fill,minmax(4.25rem,1fr))}
.sheet li{min-width:0;font-size:.75rem;line-height:1.3}
.sheet img,.lost{display:block;width:100%;height:auto;border-radius:5px;background:var(--line)}
.sheet.small img{image-rendering:pixelated}
.lost{aspect-ratio:1;display:grid;place-items:center;border:2px dashed var(--bad);color:var(--bad);
 background:none;font-weight:600}
.cap{display:block;white-space:nowrap;overflow:hidden;text-overflow:ellipsis;font-weight:600;
 margin-top:.2rem}
.num{display:block;color:var(--quiet);font-variant-numeric:tabular-nums}
.bad{border-left:5px solid var(--bad)}
.verdict{font-weight:650}
.is-poor{color:var(--bad)}
.is-well{color:var(--good)}
summary{cursor:pointer;color:var(--accent);font-size:.875rem;padding:.2rem 0}
pre{margin:.5rem 0;padding:.8rem 1rem;background:var(--page);border-radius:8px;overflow-x:auto;
 font:.8rem/1.5 ui-monospace,Consolas,"Liberation Mono",monospace;white-space:pre-wrap}
footer{color:var(--quiet);font-size:.8rem;padding-top:.5rem;padding-bottom:2.5rem}
@media (max-width:34rem){header,nav,main,footer{padding-left:.8rem;padding-right:.8rem}
 section{padding:.9rem}.facts{grid-template-columns:repeat(auto-fill,minmax(7.5rem,1fr))}
 .sheet{grid-template-columns:repeat(auto-fill,minmax(4.75rem,1fr))}}
@media print{nav,.skip{display:none}section{break-inside:avoid;border-color:#bbb}}
"""
)

# The page runs no script, loads nothing, and takes this one style sheet.
POLICY: Final = (
    "default-src 'none'; img-src data:; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'; base-uri 'none'; form-action 'none'"
)
