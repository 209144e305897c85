"""Style sheet of the page: light and dark, from a phone's width up."""

from __future__ import annotations

_LIGHT = ("#2563a8", "#c2410c", "#15803d", "#7e3fa8", "#b4235a", "#0e7490", "#806500", "#4b5563")
_DARK = ("#79b0f2", "#f2955c", "#6fce8b", "#c79bea", "#f07ba2", "#5cc8dc", "#dcbf4d", "#aab4bf")

NUM_COLOURS = len(_LIGHT)


def _colours(colours: tuple[str, ...]) -> str:
    return "".join(f"--s{number}:{colour};" for number, colour in enumerate(colours))


def _classes() -> str:
    return "".join(
        f".s{number}{{stroke:var(--s{number});background:var(--s{number})}}"
        for number in range(len(_LIGHT))
    )


STYLE = (
    ":root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1f2328;--muted:#59636e;"
    "--rule:#d8dde3;--good:#15803d;--bad:#b42318;" + _colours(_LIGHT) + "}"
    "@media(prefers-color-scheme:dark){:root{--page:#12151a;--card:#1b2027;--ink:#e8ebef;"
    "--muted:#a0a9b4;--rule:#353c46;--good:#6fce8b;--bad:#ff9387;"
    + _colours(_DARK)
    + "}}"
    + _classes()
    + """
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);-webkit-text-size-adjust:100%;
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:40px 20px 64px}
h1{font-size:1.9rem;line-height:1.2;margin:0;overflow-wrap:anywhere}
h2{font-size:1.3rem;line-height:1.3;margin:0 0 12px}
h3{font-size:1rem;line-height:1.35;margin:0;overflow-wrap:anywhere}
section{margin-top:36px}section:has(>h2+.stack)+section:not(:has(h2)){margin-top:16px}
.lead{font-size:1.12rem;color:var(--muted);margin:10px 0 0;max-width:46em}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;
margin:28px 0 0}
.facts div,.card{background:var(--card);border:1px solid var(--rule);border-radius:10px}
.facts div{padding:12px 16px}
.facts dt{font-size:.84rem;color:var(--muted)}
.facts dd{margin:2px 0 0;font-size:1.3rem;font-weight:600;line-height:1.3;overflow-wrap:anywhere;
font-variant-numeric:tabular-nums}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:16px}
.stack{display:grid;grid-template-columns:minmax(0,1fr);gap:16px}
.card{margin:0;padding:18px 20px;min-width:0}
.card figcaption p{margin:0;font-size:.86rem;color:var(--muted)}
.note,.axis,.empty,.scale{margin:12px 0 0;font-size:.86rem;color:var(--muted)}
.legend{display:flex;flex-wrap:wrap;gap:2px 18px;list-style:none;margin:8px 0 0;padding:0;
font-size:.86rem}
.legend i{display:inline-block;width:16px;height:3px;border-radius:2px;margin-right:7px;
vertical-align:middle}
.legend b{font-variant-numeric:tabular-nums;margin-left:4px}
.chart{display:grid;grid-template-columns:3.1rem minmax(0,1fr);margin-top:14px}
.chart svg{display:block;width:100%;height:210px;border-bottom:1px solid var(--muted)}
.chart .y,.chart .x{position:relative;font-size:.78rem;line-height:1;color:var(--muted);
font-variant-numeric:tabular-nums}
.chart .y span{position:absolute;right:8px;transform:translateY(-50%);white-space:nowrap}
.chart .x{grid-column:2;height:1.3rem}
.chart .x span{position:absolute;top:7px;transform:translateX(-50%);white-space:nowrap}
.chart path{fill:none;vector-effect:non-scaling-stroke}
path.gridline{stroke:var(--rule);stroke-width:1}
.raw{opacity:.28;stroke-width:1}.line{stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.dot{stroke-width:6;stroke-linecap:round}
.axis{text-align:right;margin:4px 0 0;font-size:.78rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.bars{width:100%;margin-top:4px}
.bars th{text-align:left;font-weight:400;font-size:.9rem;padding:3px 14px 3px 0;
vertical-align:middle;
overflow-wrap:anywhere}
.bars th[scope=row]{width:30%;max-width:13em;color:var(--muted)}
.bars th[scope=rowgroup]{font-weight:600;padding-top:14px}
.bars td{padding:3px 0}
.track{position:relative;height:22px;margin-right:5.6rem}
.bar{position:absolute;left:0;top:2px;bottom:2px;border-radius:0 3px 3px 0}
.value{position:absolute;top:0;line-height:22px;padding-left:8px;font-size:.9rem;font-weight:600;
white-space:nowrap}
.missing{font-weight:400;color:var(--muted)}
.chance{position:absolute;top:-3px;bottom:-3px;border-left:2px dashed var(--ink);opacity:.65}
.chance-key{display:inline-block;height:1em;border-left:2px dashed var(--ink);opacity:.65;
margin-right:8px;
vertical-align:-2px}
.scroll{overflow-x:auto;margin-top:12px}
.scroll:focus-visible,summary:focus-visible{outline:2px solid var(--s0);outline-offset:2px}
.heat{font-size:.84rem;border-collapse:separate;border-spacing:2px}
.heat th{font-weight:400;color:var(--muted);text-align:center}
.heat th[scope=row]{text-align:left;padding-right:10px;min-width:8.5rem;line-height:1.25;
position:sticky;left:0;background:var(--card)}
.heat th b{color:var(--ink)}.heat abbr{text-decoration:none;color:var(--ink);font-weight:600}
.heat td{text-align:center;min-width:3.5rem;height:2.3rem;padding:0 6px;border-radius:3px}
.heat .blank{color:var(--muted)}
.heat tbody .blank{
background:repeating-linear-gradient(135deg,transparent 0 5px,var(--rule) 5px 6px)}
.scale i{display:inline-block;width:120px;height:10px;border-radius:3px;margin:0 8px;
background:linear-gradient(90deg,rgb(236,243,250),rgb(22,78,134));border:1px solid var(--rule)}
.plain{width:100%;font-size:.92rem}
.plain th,.plain td{text-align:left;padding:7px 20px 7px 0;border-bottom:1px solid var(--rule);
font-weight:400;vertical-align:top}
.plain th:last-child,.plain td:last-child{padding-right:0}
.plain tr:last-child>*{border-bottom:0}
.plain thead th{font-size:.84rem;color:var(--muted);border-bottom:1px solid var(--muted);
white-space:nowrap}
.plain td{min-width:7rem}.plain th[scope=row]{min-width:8.5rem}
.plain .number{min-width:0;text-align:right;white-space:nowrap}
.picture figcaption{margin-top:10px;font-size:.9rem;color:var(--muted)}
.picture .scroll{margin-top:0;border-radius:6px}
.picture img{display:block;max-width:100%;height:auto;margin:0 auto;border-radius:6px}
.gallery,.row{list-style:none;margin:0;padding:0}
.gallery>li{padding:14px 0;border-top:1px solid var(--rule)}
.gallery>li:first-child{border-top:0}.gallery>li:last-child{padding-bottom:0}
.row{display:flex;flex-wrap:wrap;gap:10px}
.thumb{width:88px;font-size:.78rem;line-height:1.3;color:var(--muted);overflow-wrap:anywhere}
.thumb img{display:block;width:88px;height:88px;object-fit:contain;border-radius:6px;
border:3px solid transparent;margin-bottom:3px}
.thumb.query{color:var(--ink);font-weight:600;margin-right:14px}
.thumb.query img{border-color:var(--ink)}
.thumb.right img{border-color:var(--good)}.thumb.wrong img{border-color:var(--bad);
border-style:dashed}
.thumb.right span{color:var(--good)}.thumb.wrong span{color:var(--bad)}
.thumb.tiny img{image-rendering:pixelated}
.map svg{display:block;width:100%;height:auto;margin-top:8px}
.map circle{fill-opacity:.85;stroke:var(--card);stroke-width:1.5}
.map circle:hover{fill-opacity:1;stroke:var(--ink);stroke-width:3}
.legend.dots i{width:11px;height:11px;border-radius:50%}
.tip{position:absolute;z-index:2;padding:6px 8px;max-width:16rem;background:var(--card);font-size:.82rem;
border:1px solid var(--rule);border-radius:8px;box-shadow:0 2px 10px rgb(0 0 0/.25);pointer-events:none;
overflow-wrap:anywhere}
.tip i{display:block;margin-bottom:4px;border-radius:4px;transform-origin:0 0}
summary{cursor:pointer}summary h2{display:inline;margin:0 0 0 4px}
pre{overflow-x:auto;margin:14px 0 0;
font:.84rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
@media(max-width:560px){main{padding:24px 12px 48px}.card{padding:14px}h1{font-size:1.5rem}
.facts{grid-template-columns:repeat(2,minmax(0,1fr));gap:8px}.facts div{padding:10px 12px}
.facts dd{font-size:1.1rem}.chart{grid-template-columns:3rem minmax(0,1fr)}
.heat{font-size:.78rem}.heat th[scope=row]{min-width:6.4rem;overflow-wrap:anywhere}
.heat td{min-width:2.9rem;padding:0 3px}
.bars th[scope=row]{width:34%;padding-right:10px}
.row{display:grid;grid-template-columns:repeat(6,minmax(0,1fr));gap:6px}
.thumb{width:auto}.thumb img{width:100%;height:auto;aspect-ratio:1}.thumb.query{margin-right:0}}
@media print{body{background:#fff}.card,.facts div{break-inside:avoid}}
"""
)
