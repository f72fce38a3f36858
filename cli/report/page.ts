/**
 * The report of a quantized file as one HTML page that asks nothing of anybody: no script, no font, no
 * picture from elsewhere.
 *
 * @module
 */

import type { Comparison, QuantizeResult, TensorError } from "../../quantize/quantize_model.ts";
import { counted, formatMs } from "../format.ts";
import { formatBytes } from "../progress.ts";
import { html } from "./html_text.ts";
import { plot, type Series } from "./plot.ts";
import { STYLE } from "./style.ts";

/** A type that was tried beside the one that was written. */
export interface TriedType {
  readonly type: string;
  readonly method: string;
  readonly bytes: number;
  readonly bitsPerWeight: number;
  readonly comparison: Comparison;
}

/** What a report tells. */
export interface Report extends Omit<QuantizeResult, "heldOut"> {
  /** Name of the file. */
  readonly path: string;
  /** Type that was asked for. */
  readonly type: string;
  /** Options that were given, by the names of their flags. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly seconds: number;
  readonly tried: readonly TriedType[];
}

/** The page. */
export function reportPage(report: Report): string {
  const name = report.path.split(/[/\\]/).at(-1)!;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${html(name)}: what quantizing it cost</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${html(name)}</h1>
<p class="faint">A model with smaller weights, made by Sparrow, beside its source</p>
${cards(report)}
${predictions(report)}
${sizes(report)}
${errors(report)}
${types(report)}
${facts(report)}
</main>
</body>
</html>
`;
}

function cards(
  { bytes, bitsPerWeight, source, comparison, seconds, method, type }: Report,
): string {
  const shown: [string, string][] = [
    [`${type} by ${method}`, "type and method"],
    [formatBytes(bytes), source ? `was ${formatBytes(source.bytes)}` : "size"],
    [bitsPerWeight.toFixed(2), "bits per weight"],
  ];
  if (comparison) {
    const { kl, sameTop, perplexity: [base, model] } = comparison;
    shown.push(
      [digits(kl.mean), "mean KL divergence, nats a token"],
      [percent(sameTop), "same best token"],
      [`× ${(model / base).toFixed(4)}`, "perplexity"],
    );
  }
  shown.push([formatMs(1000 * seconds), "time"]);
  return `<ul class="cards">${
    shown.map(([value, what]) => `<li><b>${html(value)}</b><span>${html(what)}</span></li>`).join(
      "",
    )
  }</ul>`;
}

function predictions({ comparison }: Report): string {
  if (!comparison) {
    return `<h2>Predictions</h2><p>They were not compared with those of the source.</p>`;
  }
  const { kl, sameTop, perplexity: [base, model], tokens } = comparison;
  return `<h2>Predictions beside those of the source</h2>
<p>For ${counted(tokens, "token")} of texts that it was not calibrated on. The Kullback–Leibler
divergence says how many nats the file's predictions of the next token are from those of the source
with all weights in f32: half of the tokens are below the median, one in a thousand is above 99.9 %.</p>
${
    table(["", "value"], [
      ["KL divergence, mean", digits(kl.mean)],
      ["median", digits(kl.median)],
      ["99 %", digits(kl.p99)],
      ["99.9 %", digits(kl.p999)],
      ["most", digits(kl.max)],
      ["same best token", percent(sameTop)],
      ["perplexity of the source", base.toFixed(4)],
      ["perplexity of the file", `${model.toFixed(4)} (× ${(model / base).toFixed(4)})`],
    ])
  }`;
}

function sizes({ tried, type, method, bytes, bitsPerWeight, comparison }: Report): string {
  if (tried.length === 0 || !comparison) return "";
  const own: TriedType = { type, method, bytes, bitsPerWeight, comparison };
  const all = [own, ...tried];
  const series = Array.from(
    Map.groupBy(all, (it) => it.method),
    ([name, members]): Series => ({
      name,
      points: members.map((it) => ({
        ...{ x: it.bytes, y: it.comparison.kl.mean },
        ...{ label: it.type, isRinged: it === own },
        title: `${it.type} by ${it.method}: ${formatBytes(it.bytes)}, ${
          digits(it.comparison.kl.mean)
        } nats`,
      })),
    }),
  );
  const shown = all.every((it) => it.comparison.kl.mean > 0);
  return `<h2>Size against divergence</h2>
<p>The file (in a ring), and the other types that were tried, on the same texts. Lower and further
left is better.</p>
${
    plot(
      "size of the file against mean KL divergence, for each type that was tried",
      { title: "size of the file", format: formatBytes, isTight: true },
      {
        title: "mean KL divergence, nats",
        format: (it) => String(Number(it.toPrecision(3))),
        isLogarithmic: shown,
      },
      series,
    )
  }
${
    table(
      [
        "type",
        "method",
        "size",
        "bits per weight",
        "KL mean",
        "99.9 %",
        "same best token",
        "perplexity",
      ],
      all.map(({ comparison: { kl, sameTop, perplexity: [base, model] }, ...it }) => [
        ...[it.type, it.method, formatBytes(it.bytes), it.bitsPerWeight.toFixed(2)],
        ...[digits(kl.mean), digits(kl.p999), percent(sameTop), `× ${(model / base).toFixed(4)}`],
      ]),
      2,
    )
  }`;
}

/** Most tensors that are listed at once. */
const LISTED = 10;

function errors({ errors = [] }: Report): string {
  if (errors.length === 0) return "";
  const inLayers = errors.filter((it) => it.layer !== undefined);
  const kinds = Array.from(
    Map.groupBy(inLayers, ({ name }) => kindOf(name)),
    ([name, members]): Series => ({
      name,
      points: members.map((it) => ({
        ...{ x: it.layer!, y: 100 * it.error },
        title: `${it.name} (${it.type}): ${percent(it.error)}`,
      })),
    }),
  );
  const row = ({ name, type, error, weighted }: TensorError): string[] => [
    ...[name, type, percent(error), weighted ? "by its inputs" : "no"],
  ];
  const heads = ["tensor", "type", "error", "weighted"];
  const weighted = errors.some((it) => it.weighted);
  return `<h2>Errors of tensors</h2>
<p>How far each rounded tensor is from the source's, as a part of it: √(Σ m·(w − ŵ)² ∕ Σ m·w²)${
    weighted
      ? ", where m is the mean square of what a number is multiplied with; 1 where that is not known"
      : " with m = 1"
  }.</p>
${
    kinds.length > 0
      ? plot(
        "error of each tensor by its layer",
        { title: "layer", format: String, isCount: true },
        { title: "error, %", format: (it) => String(Number(it.toPrecision(3))) },
        kinds,
      )
      : ""
  }
${table(heads, errors.slice(0, LISTED).map(row), 2, 3)}
${
    errors.length > LISTED
      ? `<details><summary>The other ${counted(errors.length - LISTED, "tensor")}</summary>${
        table(heads, errors.slice(LISTED).map(row), 2, 3)
      }</details>`
      : ""
  }`;
}

/** A tensor's name without the numbers that say where it is: `attn_q` of `blk.7.attn_q.weight`. */
function kindOf(name: string): string {
  return name.replace(/^.*?\.\d+\./, "").replace(/\.weight$/, "");
}

function types({ tensors }: Report): string {
  const groups = Map.groupBy(
    tensors,
    ({ from, type, why = "" }) => JSON.stringify([from, type, why]),
  );
  return `<h2>Types</h2>
${
    table(
      ["from", "to", "because", "tensors", "numbers"],
      Array.from(groups, ([key, members]) => {
        const [from, type, why] = JSON.parse(key);
        const numbers = members.reduce((sum, it) => sum + it.elements, 0);
        return [
          from,
          from === type ? "as it was" : type,
          why,
          String(members.length),
          grouped(numbers),
        ];
      }),
      3,
    )
  }`;
}

function facts({ source, tokens, options, path }: Report): string {
  const rows: [string, string][] = [["file", path]];
  source?.files.forEach((it, i) => rows.push(["source", `${it} (SHA-256 ${source.sha256[i]})`]));
  if (tokens > 0) rows.push(["calibrated on", counted(tokens, "token")]);
  for (const [name, value] of Object.entries(options)) {
    rows.push([`--${name}`, typeof value === "string" ? value : JSON.stringify(value)]);
  }
  return `<h2>How it was made</h2>
<div class="wide"><table class="facts">${
    rows.map(([name, value]) =>
      `<tr><th>${html(name)}</th><td><code>${html(value)}</code></td></tr>`
    ).join("")
  }</table></div>`;
}

/** A table, whose columns from `first` to before `end` are numbers. */
function table(
  heads: readonly string[],
  rows: readonly (readonly string[])[],
  first = 1,
  end: number = heads.length,
): string {
  const cell = (tag: string, text: string, i: number): string =>
    `<${tag}${i >= first && i < end ? ' class="n"' : ""}>${html(text)}</${tag}>`;
  return `<div class="wide"><table><thead><tr>${
    heads.map((it, i) => cell("th", it, i)).join("")
  }</tr></thead><tbody>${
    rows.map((row) => `<tr>${row.map((it, i) => cell("td", it, i)).join("")}</tr>`).join("")
  }</tbody></table></div>`;
}

/** Three digits. */
function digits(value: number): string {
  return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(2) : String(
    Number(value.toPrecision(3)),
  );
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}

/** A whole number with its thousands apart. */
function grouped(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}
