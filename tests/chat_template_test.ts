/**
 * Chat templates: real models' templates against prompts written out by hand, the functions that
 * templates expect, and templates that are broken or hostile.
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { FormatError, InputError } from "../errors.ts";
import { chatTemplate } from "../runtime/text/chat_template.ts";
import { ggufChatTemplates } from "../runtime/text/model_text.ts";
import type { ChatMessage } from "../runtime/text/chat_template.ts";
import { tokenizerFromJson } from "../runtime/text/tokenizer/tokenizer.ts";
import { vocabulary } from "./vocabularies.ts";

const HI: ChatMessage[] = [{ role: "user", content: "Hi" }];

async function render(source: string, messages = HI, options = {}): Promise<string> {
  return (await chatTemplate(source, { bosToken: "<s>", eosToken: "</s>" }))
    .render(messages, options);
}

async function modelTemplate(name: string) {
  const config = (await vocabulary(name)).config!;
  return await chatTemplate(config.chat_template, {
    bosToken: config.bos_token as string | undefined ?? undefined,
    eosToken: config.eos_token as string,
  });
}

Deno.test("render() writes Qwen's format: system, thinking, history, indentation", async () => {
  const template = await modelTemplate("qwen2");
  const messages = [
    { role: "system", content: "Be brief." },
    { role: "user", content: "Hi\n" },
    { role: "assistant", content: "<think>\nhm\n</think>\n\n  Hello" },
    { role: "user", content: "天" },
  ];
  const history = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi\n<|im_end|>\n" +
    "<|im_start|>assistant\n  Hello<|im_end|>\n<|im_start|>user\n天<|im_end|>\n";
  assertEquals(template.render(messages), history + "<|im_start|>assistant\n");
  assertEquals(template.render(messages, { addGenerationPrompt: false }), history);
  assertEquals(
    template.render(messages, { variables: { enable_thinking: false } }),
    history + "<|im_start|>assistant\n<think>\n\n</think>\n\n",
  );
});

Deno.test("render() writes tools as JSON, spaced as Python does", async () => {
  const tool = { type: "function", function: { name: "f", parameters: { type: "object" } } };
  const prompt = (await modelTemplate("qwen2")).render(HI, { tools: [tool] });
  assert(prompt.includes(
    '<tools>\n{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}\n' +
      "</tools>",
  ));
});

Deno.test("render() writes Llama 3's format, and its tokens are special tokens", async () => {
  const template = await modelTemplate("llama-bpe");
  const prompt = template.render([{ role: "user", content: " Hi " }]);
  assertEquals(
    prompt,
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>" +
      "<|start_header_id|>assistant<|end_header_id|>\n\n",
  );
  const { json, config } = await vocabulary("llama-bpe");
  const tokenizer = await tokenizerFromJson(json, config);
  const ids = tokenizer.encode(prompt, { addSpecial: false, parseSpecial: true });
  assertEquals(ids.filter((id) => id >= 128000).length, 6);
  assertEquals(tokenizer.decode(ids, { skipSpecial: false }), prompt);
});

Deno.test("render() gives templates what they expect around them", async () => {
  assertEquals(
    await render("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"),
    "<s>Hi</s>",
  );
  assertEquals(await render("{{ add_generation_prompt }}{{ tools is none }}"), "TrueTrue");
  assertEquals(await render("{{ {'a': [1, 'é']} | tojson }}"), '{"a": [1, "é"]}');
  assertEquals(await render("{% for i in range(2, 6, 2) %}{{ i }},{% endfor %}"), "2,4,");
  assertEquals(await render("{% for i in range(3, 0, -1) %}{{ i }}{% endfor %}"), "321");
  assertEquals(await render("{{ '--a-'.strip('-') }}{{ ' b '.strip() }}"), "ab");
  assertEquals(
    await render("{{ '\\n  a\\n'.lstrip('\\n') }}|{{ 'a\\n '.rstrip(' ') }}"),
    "  a\n|a\n",
  );
  assertEquals(await render("{{ custom }}", HI, { variables: { custom: 5 } }), "5");
  const now = new Date(2024, 6, 5, 15, 4, 9);
  assertEquals(
    await render("{{ strftime_now('%d %B %Y, %a %H:%M:%S %-I%p %% %Q') }}", HI, { now }),
    "05 July 2024, Fri 15:04:09 3PM % %Q",
  );
});

Deno.test("chatTemplate() takes one template, named ones, and those of GGUF metadata", async () => {
  const list = [
    { name: "default", template: "plain" },
    { name: "tool_use", template: "tools" },
  ];
  const several = await chatTemplate(list);
  assertEquals(several.names, ["default", "tool_use"]);
  assertEquals(several.render(HI), "plain");
  assertEquals(several.render(HI, { tools: [{}] }), "tools");
  assertEquals(several.render(HI, { template: "tool_use" }), "tools");
  assertThrows(() => several.render(HI, { template: "rag" }), InputError, '"rag"');
  const gguf = ggufChatTemplates({
    "tokenizer.chat_template": "plain",
    "tokenizer.chat_template.tool_use": "tools",
    "tokenizer.ggml.model": "gpt2",
  });
  assertEquals(gguf, list);
  assertEquals((await chatTemplate([{ name: "rag", template: "x" }])).render(HI), "x");
  assertEquals(ggufChatTemplates({}), undefined);
});

Deno.test("chatTemplate() tells how to go on without a template", async () => {
  for (const nothing of [undefined, null, ""]) {
    await assertRejects(() => chatTemplate(nothing), InputError, "has no chat template; pass one");
  }
});

Deno.test("render() passes on a template's own refusal", async () => {
  const source = "{{ raise_exception('Roles must alternate') }}";
  await assertRejects(() => render(source), InputError, "refuses it: Roles must alternate");
});

Deno.test("render() refuses malformed conversations", async () => {
  const template = await chatTemplate("{{ messages | length }}");
  const cyclic: Record<string, unknown> = { role: "user" };
  cyclic.content = cyclic;
  const rows: [unknown, string][] = [
    ["Hi", "expected a list"],
    [["Hi"], "message 0 has no role"],
    [[{ content: "Hi" }], "message 0 has no role"],
    [[...HI, null], "message 1 has no role"],
  ];
  for (const [messages, message] of rows) {
    assertThrows(() => template.render(messages as ChatMessage[]), InputError, message);
  }
  assertThrows(
    () => template.render([cyclic as unknown as ChatMessage]),
    InputError,
    "a message holds itself",
  );
});

Deno.test("chatTemplate() refuses what is no template", async () => {
  for (const broken of ["{% if %}", "{{ 'a }}", "{% for x %}", "{% endfor %}", "{{ 1 + }}"]) {
    await assertRejects(() => chatTemplate(broken), FormatError, "Cannot compile");
  }
  const rows = [5, {}, [], [{ name: "a" }], [{ template: "a" }], [null], "x".repeat((1 << 20) + 1)];
  for (const value of rows) await assertRejects(() => chatTemplate(value), FormatError);
});

/** Templates that would take for ever or fill the memory, by what ends them. */
const DOUBLED = "{% set ns = namespace(l=[1], m=[1], t=(1,), s='x') %}{% for i in range(99) %}" +
  "{% set ns.l = [ns.l, ns.l] %}{% set ns.m = [ns.m, ns.m] %}{% set ns.t = (ns.t, ns.t) %}{% endfor %}";
const HOSTILE: readonly (readonly [string, string])[] = [
  [
    "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "ran longer",
  ],
  ["{% for i in range(10000000000) %}{% endfor %}", "a range of 10000000000"],
  [`${DOUBLED}{{ ns.l == ns.m }}`, "ran longer"],
  [`${DOUBLED}{{ ns.l < ns.m }}`, "ran longer"],
  [`${DOUBLED}{{ ns.l | tojson }}`, "characters|ran longer"],
  [`${DOUBLED}{{ ns.l }}`, "characters|ran longer"],
  [`${DOUBLED}{{ ns.l | pprint }}`, "list items|ran longer"],
  [`${DOUBLED}{{ {ns.t: 1} }}`, "characters|ran longer"],
  [
    "{% set ns = namespace(a='x') %}{% for i in range(99) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}",
    "characters",
  ],
  [
    "{% set ns = namespace(a='x') %}{% for i in range(99) %}{% set ns.a = ns.a + ns.a %}{% endfor %}",
    "characters",
  ],
  [
    "{% set ns = namespace(a=[1]) %}{% for i in range(99) %}{% set ns.a = ns.a + ns.a %}{% endfor %}",
    "list items",
  ],
  ["{{ messages | tojson(indent=40000000) }}", "characters"],
  ["{{ ('a\n' * 1000) | indent(100000) }}", "characters"],
  ["{{ 'a' * 1000000000 }}", "characters"],
  ["{{ [1] * 1000000000 }}", "list items"],
  ["{{ 'a'.ljust(1000000000) }}", "characters"],
  ["{{ 'a' | center(1000000000) }}", "characters"],
  ["{{ 'a'.zfill(1000000000) }}", "characters"],
  ["{{ '{:1000000000}'.format(1) }}", "characters"],
  ["{{ '{:01000000000,}'.format(1) }}", "characters"],
  ["{{ '%1000000000d' % 1 }}", "characters"],
  ["{{ '%*d' % (1000000000, 1) }}", "characters"],
  ["{{ '%.1000000000d' % 1 }}", "characters"],
  ["{{ ('\t' * 10000).expandtabs(100000000) }}", "characters"],
  ["{{ ('x' * 100000).join('y' * 100000) }}", "characters"],
  ["{{ ('x' * 100000).replace('x', 'y' * 100000) }}", "characters"],
  ["{{ strftime_now('%999d' * 100000) }}", "characters"],
  ["{{ [1] | batch(1000000000, 'x') | list }}", "list items"],
  ["{{ [1] | slice(1000000000) | list }}", "list items|ran longer"],
  ["{% for i in range(100000) %}{{ 'x' * 10000 }}{% endfor %}", "characters"],
  [
    "{% set a = 'a' * 500000 %}{% for i in range(100000) %}{{ a.find('b') }}{% endfor %}",
    "ran longer",
  ],
  ["{{ ([-(2 ** 16000)] * 500000) | map('abs') | list | length }}", "characters|ran longer"],
  ["{{ (['9' * 4000] * 500000) | map('int') | list | length }}", "characters|ran longer"],
  [
    // The longer a template, the more it may make; here that is not more and more.
    `{#${"x".repeat(1_000_000)}#}{% set ns = namespace(l=[]) %}{% set p = 'Ā' * 17000000 %}` +
    "{% for i in range(63) %}{% set ns.l = ns.l + [(p ~ i) | upper] %}{% endfor %}",
    "characters|ran longer",
  ],
];

Deno.test("render() searches long texts for long parts in linear time", async () => {
  const begin = performance.now();
  for (const part of ["'a' * 300000 ~ 'b'", "'b' ~ 'a' * 300000", "'ab' ~ 'a' * 300000"]) {
    const source =
      `{% set t = 'b' ~ 'a' * 700000 %}{% set p = 'c' ~ ${part} %}{% set q = ${part} %}` +
      "{% for s in [p, q] %}{{ s in t }} {{ t.find(s) }} {{ t.rfind(s) }} {{ t.count(s) }} " +
      "{{ t.split(s) | length }} {{ t.rsplit(s, 1) | length }} {{ t.partition(s)[1] | length }} " +
      "{{ t.rpartition(s)[1] | length }} {{ t.replace(s, '') | length }};{% endfor %}";
    const found = part.startsWith("'b'");
    const none = "False -1 -1 0 1 1 0 0 700001;";
    const once = "True 0 0 1 2 2 300001 300001 400000;";
    assertEquals(await render(source), none + (found ? once : none), part);
  }
  assert(performance.now() - begin < 60_000); // square time takes many minutes
  // The same as the engine's own search, where that is quick.
  const repeated = "{% set t = 'abaab' * 60000 ~ 'X' %}{% set p = 'baaba' * 9 %}" +
    "{{ t.find(p) }} {{ t.rfind(p) }} {{ t.count(p) }} {{ t.find(p, 7) }}";
  const [text, part] = ["abaab".repeat(60000) + "X", "baaba".repeat(9)];
  const expected = [text.indexOf(part), text.lastIndexOf(part), text.split(part).length - 1];
  assertEquals(await render(repeated), [...expected, text.indexOf(part, 7)].join(" "));
});

Deno.test("render() stops templates that loop or grow without end", async () => {
  for (const [source, reason] of HOSTILE) {
    const template = await chatTemplate(source, { timeLimitMs: 300 });
    const begin = performance.now();
    const error = assertThrows(() => template.render(HI), InputError);
    assert(new RegExp(reason).test(error.message), `${source}: ${error.message}`);
    assert(performance.now() - begin < 5000, source);
  }
});

Deno.test("render() ends what is too deep or too large by an error of the template", async () => {
  const rows: [string, string][] = [
    ["{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "nested deeper"],
    [
      "{% macro f() %}{% call f() %}{% endcall %}{{ caller }}{% endmacro %}{{ f() }}",
      "nested deeper",
    ],
    ["{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}", "nested deeper"],
    [
      "{% set ns = namespace(l=[1]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
      "nested deeper",
    ],
    ["{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}", "nested deeper"],
    [`{{ messages${".a".repeat(50000)} }}`, "nested deeper"],
    ["{{ 9 ** 9 ** 9 }}{{ 10 ** 1000000 }}", "more than 4300 digits"],
    ["{{ '%.1000000000f' % 1 }}", "precision"],
    [
      "{% set ns = namespace(g=[1]) %}{% for i in range(50000) %}{% set ns.g = ns.g | select %}{% endfor %}{{ ns.g | list }}",
      "line 1",
    ],
  ];
  for (const [source, message] of rows) {
    await assertRejects(() => render(source), FormatError, message);
  }
});

Deno.test("chatTemplate() compiles in a time that grows with the length", async () => {
  const long: [string, string | undefined][] = [
    [`{{ 1 ${" ".repeat(200000)}}}`, "1"],
    [`${" ".repeat(200000)}{% if true %}x{% endif %}`, "x"],
    [`${" ".repeat(500)}{% if true %}x{% endif %}`.repeat(1500), undefined],
    ["a{{ 1 }}".repeat(50000), "a1".repeat(50000)],
    [`{{ 1${"+1".repeat(50000)} }}`, "50001"],
    [`{% if 0 %}${"{% elif 0 %}".repeat(20000)}{% endif %}`, ""],
  ];
  for (const [source, expected] of long) {
    const text = (await chatTemplate(source)).render(HI);
    if (expected !== undefined) assertEquals(text, expected);
  }
  const broken = [
    "{{".repeat(100000),
    "{%".repeat(100000),
    "{#".repeat(100000),
    `{% raw %}${"{%   ".repeat(100000)}`,
    `{{ ${"(".repeat(100000)} }}`,
    `{{ ${"not ".repeat(100000)}1 }}`,
    `{{ ${"1".repeat(500000)} }}`,
    "{% if 1 %}".repeat(50000),
  ];
  for (const source of broken) {
    await assertRejects(() => chatTemplate(source), FormatError, "Cannot compile");
  }
  const slow = { timeLimitMs: 1 };
  await assertRejects(
    () => chatTemplate("{% set a = 1 %}".repeat(60000), slow),
    FormatError,
    "ran longer than 1 ms",
  );
});

Deno.test("render() takes long conversations and structures that are shared", async () => {
  const text = "A line of text, 天 👍.\n".repeat(40000); // most of a megabyte
  const messages = [{ role: "user", content: text }, { role: "assistant", content: text }];
  const template = await chatTemplate(
    "{% set ns = namespace(p='') %}{% for m in messages %}" +
      "{% set ns.p = ns.p + m.content.strip() | tojson ~ m.content.split('\n') | join('|') %}" +
      "{% endfor %}{{ ns.p }}",
  );
  assertEquals(template.render(messages).length > 4 * 800000, true);
  // One object in many places is converted once.
  let shared: unknown = ["x"];
  for (let i = 0; i < 40; i++) shared = [shared, shared];
  const counted = await chatTemplate("{{ messages[0].content | length }}");
  assertEquals(counted.render([{ role: "user", content: shared }]), "2");
  let deep: unknown = "x";
  for (let i = 0; i < 300; i++) deep = [deep];
  assertThrows(
    () => counted.render([{ role: "user", content: deep }]),
    InputError,
    "nested deeper than 200 levels",
  );
  const wrong = [{ role: "user", content: () => 1 }];
  assertThrows(() => counted.render(wrong), InputError, "holds a function");
});
