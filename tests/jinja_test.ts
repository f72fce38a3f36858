/**
 * Chat templates against jinja2: thousands of small templates with the values that jinja2 gives in
 * transformers' environment. `tests/templates/README.md` says where they come from.
 */

import { assert, assertEquals } from "@std/assert";
import { SparrowError } from "../errors.ts";
import { chatTemplate } from "../runtime/text/chat_template.ts";
import type { ChatMessage, RenderOptions } from "../runtime/text/chat_template.ts";
import { FIXTURES } from "./fixtures.ts";

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
