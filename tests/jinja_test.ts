/**
 * Chat templates against jinja2: thousands of small templates with the values that jinja2 gives in
 * transformers' environment. `tests/templates/README.md` says where they come from.
 */

import { assert, assertEquals } from "@std/assert";
import { SparrowError } from "../errors.ts";
import { chatTemplate } from "../runtime/text/chat_template.ts";
import type { ChatMessage, RenderOptions } from "../runtime/text/chat_template.ts";
import { FIXTURES, randomNumbers } from "./fixtures.ts";

const NOW = new Date(2026, 2, 5, 9, 7, 3);

async function data(name: string): Promise<string> {
  return await Deno.readTextFile(new URL(`templates/${name}`, FIXTURES));
}

/** What a template makes, or null where it is refused by an error of ours. */
async function outcome(
  template: string,
  messages: readonly ChatMessage[],
  options: RenderOptions,
): Promise<string | null> {
  try {
    const compiled = await chatTemplate(template, { bosToken: "<s>", eosToken: "</s>" });
    const text = compiled.render(messages, { ...options, now: NOW });
    const pieces = compiled.pieces(messages, { ...options, now: NOW });
    assertEquals(pieces.map((piece) => piece.text).join(""), text, template);
    return text;
  } catch (error) {
    if (error instanceof SparrowError) return null;
    throw new Error(`not an error of ours, from ${template}`, { cause: error });
  }
}

interface Case {
  readonly name: string;
  readonly template: string;
  readonly messages: readonly ChatMessage[];
  readonly tools: readonly unknown[] | null;
  readonly agp: boolean;
  readonly vars: Readonly<Record<string, unknown>>;
  readonly expected?: string;
}

Deno.test("render() gives what transformers gives for conversations", async () => {
  // JSON's 2.0 and 2 are one number in JavaScript, and 12345678901234567890 is none of its numbers.
  const lost = new Set(["print z", "tojson safe", "bigint"]);
  const { cases }: { cases: readonly Case[] } = JSON.parse(await data("transformers.json"));
  assert(cases.length > 100);
  let different = 0;
  for (const { name, template, messages, tools, agp, vars, expected } of cases) {
    const options = { tools: tools ?? undefined, addGenerationPrompt: agp, variables: vars };
    const made = await outcome(template, messages, options);
    if (lost.has(name)) different += Number(made !== expected);
    else assertEquals(made, expected ?? null, `${name}: ${template}`);
  }
  assertEquals(different, lost.size);
});

Deno.test("render() gives what jinja2 gives, over the whole language", async () => {
  const { cases, messages, vars }: {
    cases: readonly (readonly [string, string | null])[];
    messages: readonly ChatMessage[];
    vars: Readonly<Record<string, unknown>>;
  } = JSON.parse(await data("jinja.json"));
  assert(cases.length > 4000);
  for (const [template, expected] of cases) {
    assertEquals(await outcome(template, messages, { variables: vars }), expected, template);
  }
});

Deno.test("render() takes whole numbers of any size as bigints", async () => {
  const variables = { big: 12345678901234567890n, list: [2n ** 70n] };
  assertEquals(
    await outcome("{{ big + 1 }} {{ list }} {{ list | tojson }}", [], { variables }),
    "12345678901234567891 [1180591620717411303424] [1180591620717411303424]",
  );
});

Deno.test("chatTemplate() survives 6000 damaged templates of every kind", async () => {
  const { cases, messages, vars }: {
    cases: readonly (readonly [string, string | null])[];
    messages: readonly ChatMessage[];
    vars: Readonly<Record<string, unknown>>;
  } = JSON.parse(await data("jinja.json"));
  const random = randomNumbers(21);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)];
  const words = cases.map(([template]) => template.match(/[{%#}-]{2,3}|\w+|'[^']*'|[^\w]/g) ?? []);
  const outcomes = { rendered: 0, refused: 0 };
  for (let round = 0; round < 6000; round++) {
    const damaged = pick(words).slice();
    const at = Math.floor(random() * damaged.length);
    const kind = Math.floor(random() * 3);
    const other = pick(pick(words)) ?? "";
    if (kind === 0) damaged.splice(at, 1);
    else if (kind === 1) damaged[at] = other;
    else damaged.splice(at, 0, other);
    // An error that is not ours makes `outcome` throw.
    const made = await outcome(damaged.join(""), messages, { variables: vars });
    if (made === null) outcomes.refused++;
    else outcomes.rendered++;
  }
  assert(outcomes.rendered > 1000 && outcomes.refused > 1000, JSON.stringify(outcomes));
});
