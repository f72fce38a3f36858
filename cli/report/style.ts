/**
 * How a report looks: on light and dark screens, wide and narrow ones, and on paper.
 *
 * @module
 */

/** The page's style sheet. */
export const STYLE = `
:root { color-scheme: light dark;
  --paper: #fff; --ink: #1c2024; --faint: #667079; --line: #dde1e5; --card: #f5f6f7;
  --mark-0: #1266c4; --mark-1: #c2410c; --mark-2: #0f7b55; --mark-3: #8b3fb8;
  --mark-4: #a16207; --mark-5: #be185d; --mark-6: #0e7490; --mark-7: #57606a }
@media (prefers-color-scheme: dark) { :root {
  --paper: #14171a; --ink: #e6e9ec; --faint: #9aa4ad; --line: #30363c; --card: #1d2125;
  --mark-0: #6cb0ff; --mark-1: #ff9a62; --mark-2: #4fd1a0; --mark-3: #cf9bf2;
  --mark-4: #e5b44b; --mark-5: #ff86b3; --mark-6: #5fcfe4; --mark-7: #a9b3bc } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; -webkit-text-size-adjust: 100% }
main { max-width: 54rem; margin: 0 auto; padding: 1.5rem 1rem 3rem }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere }
h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem }
p { margin: .5rem 0; max-width: 44rem }
.faint { color: var(--faint); font-size: .9rem }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem;
  margin: 1.25rem 0; padding: 0; list-style: none }
.cards li { background: var(--card); border-radius: .5rem; padding: .6rem .8rem }
.cards b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums }
.cards span { color: var(--faint); font-size: .85rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top }
th { font-weight: 600; white-space: nowrap }
td.n, th.n { text-align: right; white-space: nowrap }
td { white-space: nowrap }
.facts td { white-space: normal; overflow-wrap: anywhere }
code { font: .92em ui-monospace, monospace; overflow-wrap: anywhere }
summary { cursor: pointer; margin: .75rem 0 }
.plot { display: block; width: 100%; max-width: 44rem; height: auto; margin: .75rem 0 .25rem }
.plot text { fill: var(--faint); font-size: 12px }
.plot .label { fill: var(--ink) }
.ring { stroke: var(--ink); fill: none; stroke-width: 1.5 }
.grid { stroke: var(--line); fill: none }
.legend { display: flex; flex-wrap: wrap; gap: .15rem 1rem; margin: 0 0 1rem; padding: 0; list-style: none;
  font-size: .85rem; color: var(--faint) }
${Array.from({ length: 8 }, (_, i) => `.mark-${i} { fill: var(--mark-${i}) }`).join("\n")}
@media (max-width: 30rem) { .plot text { font-size: 19px } }
@media print { body { font-size: 11pt } details { display: block } }
`;
