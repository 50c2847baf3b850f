#pragma once

// Style sheet and script of the report. The page loads nothing: no fonts, no libraries, no images but its own.

#include "common/report_charts.hpp"

#include <string>

namespace report {

namespace detail {

inline constexpr std::string_view style_sheet = R"css(
:root{color-scheme:light dark;--paper:#fbfaf8;--card:#fff;--ink:#1f1b24;--soft:#6b6573;--faint:#97919e;--line:#e6e2e9;
--model:#b3275f;--model-wash:#f9e6ee;--control:#4a5aa8;--control-wash:#e9ecf7;--map:#fff;--tissue:.5;--unknown:#c9c4cd}
@media (prefers-color-scheme:dark){:root{--paper:#141218;--card:#1c1a21;--ink:#ece9f0;--soft:#a8a2b1;--faint:#7d7787;
--line:#322e39;--model:#ff83ab;--model-wash:#40202e;--control:#a3b2f5;--control-wash:#272c44;--map:#232028;--tissue:.42;
--unknown:#4b4653}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue","Noto Sans",Arial,sans-serif;font-variant-numeric:tabular-nums}
main,.top{max-width:1320px;margin:0 auto;padding:0 36px}
.top{padding-top:52px}
h1{font-size:2.35rem;line-height:1.15;letter-spacing:-.022em;font-weight:680;margin:0;overflow-wrap:anywhere}
.subtitle{font-size:1.12rem;color:var(--soft);margin:.55rem 0 0;max-width:62em}
h2{font-size:1.55rem;line-height:1.2;letter-spacing:-.015em;font-weight:650;margin:0 0 .3rem;overflow-wrap:anywhere}
h3{font-size:1.08rem;font-weight:640;margin:2.4rem 0 .2rem}
h4{font-size:1rem;font-weight:640;margin:0;overflow-wrap:anywhere}
p{margin:.3rem 0 0;max-width:78em}
.lead{color:var(--soft);margin-bottom:1.15rem;font-size:.95rem}
a{color:var(--control)}
nav{display:flex;flex-wrap:wrap;gap:.35rem 1.4rem;margin-top:1.6rem;padding:.7rem 0;border-top:1px solid var(--line);
border-bottom:1px solid var(--line);font-size:.94rem}
nav a{text-decoration:none;color:var(--soft)}
nav a:hover{color:var(--model)}
section{margin:3.4rem 0 0}
.tiles{display:grid;gap:14px;margin-top:1.9rem;grid-template-columns:repeat(auto-fit,minmax(max(158px,
calc((100% - (var(--columns) - 1)*14px)/var(--columns))),1fr))}
.tile{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 16px 13px;min-width:0;
display:flex;flex-direction:column}
.tile .what{font-size:.86rem;color:var(--soft);line-height:1.3;min-height:2.6em;display:flex;align-items:flex-end}
.tile .figure{font-size:1.75rem;line-height:1.3;font-weight:660;letter-spacing:-.02em;overflow-wrap:anywhere}
.tile .note{font-size:.86rem;color:var(--soft);line-height:1.35}
.tile.key .figure{color:var(--model)}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px 18px;min-width:0;margin:0}
.grid{display:grid;gap:16px}
.panels{grid-template-columns:repeat(auto-fill,minmax(288px,1fr))}
.genes{grid-template-columns:repeat(auto-fit,minmax(560px,1fr))}
.overview{grid-template-columns:repeat(3,minmax(0,1fr))}
.overview.two{grid-template-columns:repeat(2,minmax(0,1fr))}
.types{grid-template-columns:repeat(auto-fill,minmax(288px,1fr))}
.types.single{grid-template-columns:repeat(auto-fill,minmax(190px,1fr))}
.head{display:flex;align-items:baseline;justify-content:space-between;gap:0 12px;margin-bottom:8px}
.head .value{font-size:.9rem;color:var(--soft);white-space:nowrap}
.head b{color:var(--ink);font-weight:640}
.triple{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:14px;align-items:start}
.pair{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:12px;align-items:start}
.single .pair{grid-template-columns:minmax(0,1fr)}
.retrieval{grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));align-items:start}
.retrieval .where{grid-row:span 3}
.patches{display:grid;grid-template-columns:repeat(auto-fill,minmax(84px,1fr));gap:12px 10px}
.patches>div{min-width:0;overflow-wrap:anywhere}
.patch{display:block;width:100%;aspect-ratio:1;object-fit:cover;border-radius:7px;background:var(--map)}
.query .patch{outline:3px solid var(--model);outline-offset:1px}
.patches .small{margin-top:5px}
circle.mark{fill:var(--model);stroke:var(--card);stroke-width:3}
text.mark{fill:var(--card);text-anchor:middle;font-weight:650}
.small{font-size:.82rem;color:var(--soft);line-height:1.4}
.what-map{font-size:.82rem;color:var(--soft);margin-bottom:4px}
svg{display:block;width:100%;height:auto}
svg.map{background:var(--map);border-radius:7px;max-height:62vh}
svg.hidden{position:absolute;width:0;height:0}
.tissue{opacity:var(--tissue);filter:saturate(.35)}
.tissue.full{opacity:1;filter:none}
.spots path{fill:none;stroke-linecap:round}
.spots .unknown{stroke:var(--unknown);opacity:.6}
.scale{display:flex;align-items:center;gap:7px;margin-top:6px;font-size:.78rem;color:var(--soft);line-height:1.2}
.scale i{flex:1;height:7px;border-radius:4px;min-width:24px}
text{fill:var(--soft);font-family:inherit}
.tick{font-size:11px}.label{font-size:11.5px}.end{text-anchor:end}.mid{text-anchor:middle}
.grid-line,path.grid{stroke:var(--line);stroke-width:1;fill:none}
path.axis{stroke:var(--faint);stroke-width:1;fill:none}
.train,.valid{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.train{stroke:var(--control)}.valid{stroke:var(--model)}
.thin{stroke-width:1;opacity:.42}
.rate{stroke:var(--faint)}
.kept{fill:none;stroke-linecap:round;stroke-width:8;stroke:var(--ink)}
.kept.thin-mark{stroke-width:5;opacity:.75}
.diagonal{stroke:var(--faint);stroke-width:1;stroke-dasharray:4 4;fill:none}
.point{fill:none;stroke:var(--model);stroke-linecap:round;stroke-width:3.6;opacity:.62}
.point.many{stroke-width:4.6;opacity:.5}
.overview .legend{min-height:3.2em;align-content:flex-start}
.bars{fill:var(--model);opacity:.62}
.steps{fill:none;stroke:var(--control);stroke-width:1.8;stroke-linejoin:round}
.mean-model,.mean-control{stroke-width:1.6;stroke-dasharray:5 4;fill:none}
.mean-model{stroke:var(--model)}.mean-control{stroke:var(--control)}
.legend{display:flex;flex-wrap:wrap;gap:2px 18px;font-size:.86rem;color:var(--soft);margin:.3rem 0 .9rem;padding:0}
.legend span{display:inline-flex;align-items:center;gap:7px}
.key-line{width:22px;height:0;border-top:2.5px solid;display:inline-block}
.key-line.model{border-color:var(--model)}.key-line.control{border-color:var(--control)}
.key-line.faint{border-top-width:1px;border-color:var(--soft)}
.key-dot{width:9px;height:9px;border-radius:50%;background:var(--ink);display:inline-block}
.key-box{width:12px;height:12px;border-radius:3px;display:inline-block;flex:none}
.key-box.model{background:var(--model);opacity:.62}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:12px;background:var(--card)}
table{border-collapse:collapse;width:100%;font-size:.95rem}
th,td{padding:8px 16px;text-align:right;border-top:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}
thead th{border-top:0;font-weight:500;color:var(--soft);font-size:.86rem;line-height:1.3;vertical-align:bottom;
white-space:normal;min-width:6.5em}
thead th:first-child{min-width:11em}
tbody th{font-weight:400}
tr.sample th{font-weight:640;padding-top:18px;border-top:1px solid var(--line);font-size:1rem}
tbody:first-of-type tr.sample th{border-top:1px solid var(--line)}
tr.model th,tr.model td{font-weight:640}
tr.oracle th,tr.oracle td{color:var(--soft);font-style:italic}
td.best span{background:var(--model-wash);color:var(--model);border-radius:6px;padding:3px 8px;margin:-3px -8px;
font-weight:640}
.notes{padding-left:1.2em;margin:.5rem 0 0}
.notes li{margin:.3rem 0;max-width:78em}
details{margin-top:1.1rem;border:1px solid var(--line);border-radius:12px;background:var(--card);padding:0 18px}
summary{cursor:pointer;padding:13px 0;font-weight:600}
details>:last-child{margin-bottom:18px}
table.plain td{white-space:normal;overflow-wrap:anywhere}
table.plain th,table.plain td{text-align:left;padding:6px 16px 6px 0;vertical-align:top}
table.plain th{color:var(--soft);width:16em}
table.plain tr:first-child th,table.plain tr:first-child td{border-top:0}
table.shares{font-size:.88rem}
table.shares th,table.shares td{padding:4px 0 4px 12px;border-top:1px solid var(--line)}
table.shares th:first-child{padding-left:0;white-space:normal;overflow-wrap:anywhere}
table.shares thead th{min-width:0;border-top:0}
table.shares .key-box{margin-right:8px;vertical-align:-1px}
pre{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:11px 14px;overflow-x:auto;
font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre-wrap;overflow-wrap:anywhere}
.explorer .controls{display:flex;flex-wrap:wrap;align-items:center;gap:10px 14px;margin:0 0 14px}
.explorer input[type=text],.explorer button{font:inherit;color:inherit;background:var(--paper);
border:1px solid var(--line);border-radius:8px;padding:6px 12px}
.explorer input[type=text]{width:13em}
.explorer button{cursor:pointer}
.explorer button:hover{border-color:var(--faint)}
.explorer label{font-size:.9rem;color:var(--soft);display:inline-flex;gap:7px;align-items:center}
.explorer .found{font-size:.95rem;color:var(--soft)}
.scripted{display:none}
.js .scripted{display:block}
footer{margin:3.6rem 0 2.6rem;padding-top:1rem;border-top:1px solid var(--line);font-size:.86rem;color:var(--faint)}
@media (max-width:1000px){.overview>.wide{grid-column:1/-1}.explorer .tick,.explorer .label{font-size:16px}
.overview{grid-template-columns:repeat(2,minmax(0,1fr))}
.genes,.retrieval{grid-template-columns:minmax(0,1fr)}.retrieval .where{grid-row:auto}}
@media (max-width:720px){main,.top{padding:0 20px}.top{padding-top:30px}h1{font-size:1.8rem}h2{font-size:1.35rem}
th,td{padding:7px 7px}th:first-child,td:first-child{padding-left:14px}th:last-child,td:last-child{padding-right:14px}
table{font-size:.84rem}thead th{font-size:.78rem;min-width:0}thead th:first-child{min-width:8em}
td.best span{padding:3px 5px;margin:-3px -5px}
section{margin-top:2.8rem}}
@media (max-width:560px){.overview,.overview.two,.panels{grid-template-columns:minmax(0,1fr)}
.triple{grid-template-columns:repeat(2,minmax(0,1fr))}.types{grid-template-columns:minmax(0,1fr)}}
@media print{:root{color-scheme:light;--paper:#fff;--card:#fff;--ink:#1f1b24;--soft:#5b5563;--faint:#97919e;
--line:#dcd8df;--model:#b3275f;--model-wash:#f9e6ee;--control:#4a5aa8;--control-wash:#e9ecf7;--map:#fff;--tissue:.5;
--unknown:#c9c4cd}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}.tissue{filter:none;opacity:.35}.tissue.full{opacity:1}
html{font-size:12px}body{font-size:12px}main,.top{max-width:none;padding:0}
.card,.tile,tr,figure{break-inside:avoid}h2,h3,.lead,.head{break-after:avoid}nav,.js .explorer{display:none}
.panels,.overview{grid-template-columns:repeat(3,minmax(0,1fr))}.overview>.wide{grid-column:auto}
.genes{grid-template-columns:1fr}.scroll{overflow:visible}
section.test{break-before:page}section{margin-top:1.6rem}th,td{padding:5px 8px}@page{margin:14mm}}
)css";

// The gene selector: values come as one byte each (0..254 over the gene's range, 255 = none), gene after gene, all
// measured spots then all predicted ones, in base64.
inline constexpr std::string_view script = R"js(
'use strict';
document.documentElement.classList.add('js');
addEventListener('beforeprint', () => document.querySelectorAll('details').forEach(d => { d.open = true; }));
(() => {
  const make = (parent, name, attributes) => {
    const node = document.createElementNS(parent.namespaceURI, name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    return parent.appendChild(node);
  };
  const text = (v, digits) => Number.isFinite(v) ? v.toFixed(digits).replace('-', '\u2212') : '\u2013';
  for (const box of document.querySelectorAll('.explorer')) {
    const data = JSON.parse(box.querySelector('.about').textContent);
    const bytes = Uint8Array.from(atob(box.querySelector('.values').textContent.trim()), c => c.charCodeAt(0));
    const n = data.x.length, find = box.querySelector('input[type=text]'), shared = box.querySelector('.shared');
    const scatter = box.querySelector('svg.chart');
    const sides = ['measured', 'predicted'].map((side, k) => {
      const cell = box.querySelector('.' + side), map = cell.querySelector('svg');
      const layer = make(map, 'g', {});
      const spots = data.x.map((x, i) => {
        const c = make(layer, 'circle', {cx: x, cy: data.y[i], r: data.radius});
        return {circle: c, title: make(c, 'title', {})};
      });
      return {k, cell, spots};
    });
    const dots = data.x.map(() => make(scatter, 'path', {class: 'point many'}));
    const byName = new Map(data.genes.map((g, i) => [g[0].toLowerCase(), i]));
    const ranges = [...scatter.querySelectorAll('text.bound')];
    let now = 0;
    const values = (gene, k) => {
      const g = data.genes[gene], low = g[2 + 2 * k], high = g[3 + 2 * k], from = (2 * gene + k) * n;
      return data.x.map((_, i) => {
        const b = bytes[from + i];
        return b === 255 ? NaN : low + (high - low) * b / 254;
      });
    };
    const bounds = v => {
      const s = v.filter(Number.isFinite).sort((a, b) => a - b);
      if (!s.length) return [0, 0];
      const low = s[Math.floor(0.02 * (s.length - 1))], high = s[Math.ceil(0.98 * (s.length - 1))];
      return low < high ? [low, high] : [s[0], s[s.length - 1]];
    };
    const show = gene => {
      now = gene;
      const g = data.genes[gene], both = [values(gene, 0), values(gene, 1)];
      const scales = both.map(bounds);
      if (shared.checked) {
        const low = Math.min(scales[0][0], scales[1][0]), high = Math.max(scales[0][1], scales[1][1]);
        scales[0] = scales[1] = [low, high];
      }
      find.value = g[0];
      box.querySelector('.found').textContent =
        (g[1] === null ? 'r undefined' : 'r = ' + text(g[1], 3)) + ' \u00b7 ' + (gene + 1) + ' of ' + data.genes.length;
      for (const side of sides) {
        const v = both[side.k], [low, high] = scales[side.k];
        side.spots.forEach((spot, i) => {
          const t = high > low ? (v[i] - low) / (high - low) : 0.5;
          const level = Math.max(0, Math.min(data.colours.length - 1, Math.floor(t * data.colours.length)));
          spot.circle.setAttribute('fill', Number.isFinite(v[i]) ? data.colours[level] : 'var(--unknown)');
          spot.title.textContent = data.spots[i] + ': ' + text(v[i], 2);
        });
        const ends = side.cell.querySelectorAll('.scale span');
        ends[0].textContent = text(low, 2);
        ends[1].textContent = text(high, 2);
      }
      const full = both.map(v => {
        const s = v.filter(Number.isFinite);
        return s.length ? [Math.min(...s), Math.max(...s)] : [0, 1];
      });
      const at = (v, [low, high], a, b) => a + (high > low ? (v - low) / (high - low) : 0.5) * (b - a);
      dots.forEach((dot, i) => {
        const ok = Number.isFinite(both[0][i]) && Number.isFinite(both[1][i]);
        dot.setAttribute('d', ok ? 'M' + at(both[0][i], full[0], 46, 282).toFixed(1) + ' ' +
          at(both[1][i], full[1], data.base - 8, 14).toFixed(1) + 'h0' : '');
      });
      [full[0][0], full[0][1], full[1][0], full[1][1]].forEach((v, i) => { ranges[i].textContent = text(v, 2); });
    };
    const step = by => show((now + by + data.genes.length) % data.genes.length);
    find.addEventListener('change', () => {
      const hit = byName.get(find.value.trim().toLowerCase());
      show(hit === undefined ? now : hit);
    });
    find.addEventListener('focus', () => find.select());
    box.querySelector('.previous').addEventListener('click', () => step(-1));
    box.querySelector('.next').addEventListener('click', () => step(1));
    shared.addEventListener('change', () => show(now));
    show(0);
  }
})();
)js";

}  // namespace detail

/// The style sheet with the colour bars of both scales.
inline std::string page_style() {
  std::string out(detail::style_sheet);
  const auto bar = [&](std::string_view name, auto scale) {
    out += ".bar-" + std::string(name) + "{background:linear-gradient(90deg";
    for (int i = 0; i <= 8; ++i) out += "," + hex(scale(i / 8.0));
    out += ")}\n";
  };
  bar("expression", expression_colour);
  bar("proportion", proportion_colour);
  return out;
}

inline std::string page_script() {
  return std::string(detail::script);
}

}  // namespace report
