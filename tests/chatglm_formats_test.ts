/**
 * The chat formats of ChatGLM-6B, ChatGLM2, ChatGLM3 and GLM-4 against prompts written down from the code that
 * was published with each model.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { InputError } from "../errors.ts";
import { chatTemplate } from "../runtime/text/chat_template.ts";
import { chatglmFormat } from "../runtime/text/chatglm_formats.ts";
import { readModelText } from "../runtime/text/model_text.ts";
import type { ModelFile } from "../runtime/files/model_file.ts";
import type { Tokenizer } from "../runtime/text/tokenizer/tokenizer.ts";
import { syntheticTokenizer } from "../bench/synthetic_tokenizer.ts";
import { SHAPES } from "../cli/shapes.ts";
import { FIXTURES } from "./fixtures.ts";

/** As much of a tokenizer as the choice of a format asks for. */
function withTokens(...tokens: string[]): Tokenizer {
  const known = new Map(tokens.map((token, id) => [token, id]));
  return { tokenToId: (token: string) => known.get(token) } as unknown as Tokenizer;
}

const TOKENS = {
  chatglm: ["[MASK]", "[gMASK]", "<sop>", "<eop>", "<n>"],
  chatglm2: ["[MASK]", "[gMASK]", "sop", "eop"],
  chatglm3: ["[MASK]", "[gMASK]", "sop", "eop", "<|system|>", "<|user|>", "<|assistant|>"],
  glm4: ["<|endoftext|>", "[gMASK]", "<sop>", "<eop>", "<|system|>", "<|user|>", "<|assistant|>"],
};

const template = (name: keyof typeof TOKENS) =>
  chatTemplate(chatglmFormat("chatglm", withTokens(...TOKENS[name])));

const user = (content: string) => ({ role: "user", content });
const assistant = (content: string) => ({ role: "assistant", content });
const LONG = [user("你好"), assistant("您好！"), user("1+1"), assistant("2"), user("为什么")];

Deno.test("chatglmFormat() writes a ChatGLM-6B conversation as its chat function does", async () => {
  const { render } = await template("chatglm");
  assertEquals(render([user("你好")]), "你好[gMASK]<sop>");
  assertEquals(
    render(LONG),
    "[Round 0]\n问：你好\n答：您好！\n[Round 1]\n问：1+1\n答：2\n[Round 2]\n问：为什么\n答：[gMASK]<sop>",
  );
});

/** The prompt as the `chat` function published with ChatGLM-6B builds it of a history and a question. */
function publishedPrompt(history: readonly (readonly [string, string])[], query: string): string {
  if (history.length === 0) return query;
  const rounds = history.map(([question, answer], i) =>
    "[Round " + i + "]\n问：" + question + "\n答：" + answer + "\n"
  );
  return rounds.join("") + "[Round " + history.length + "]\n问：" + query + "\n答：";
}

Deno.test("chatglmFormat() equals ChatGLM-6B's prompt for one and for several rounds", async () => {
  const { render } = await template("chatglm");
  const texts = ["你好", "", " a  b\n", "{{ x }} {% if %}", "[Round 1]", "答：\t<n>", "𠮷[gMASK]"];
  for (let rounds = 0; rounds < 12; rounds++) {
    const history = Array.from(
      { length: rounds },
      (_, i) => [texts[(3 * i) % 7]!, texts[(5 * i + 1) % 7]!] as const,
    );
    const query = texts[rounds % 7]!;
    const messages = history.flatMap(([a, b]) => [user(a), assistant(b)]);
    assertEquals(
      render([...messages, user(query)]),
      publishedPrompt(history, query) + "[gMASK]<sop>",
      `${rounds} rounds before`,
    );
  }
});

Deno.test("chatglmFormat() writes a ChatGLM2 conversation as its build_prompt does", async () => {
  const { render } = await template("chatglm2");
  assertEquals(render([user("你好")]), "[gMASK]sop[Round 1]\n\n问：你好\n\n答：");
  assertEquals(
    render(LONG),
    "[gMASK]sop[Round 1]\n\n问：你好\n\n答：您好！\n\n[Round 2]\n\n问：1+1\n\n答：2\n\n" +
      "[Round 3]\n\n问：为什么\n\n答：",
  );
});

Deno.test("chatglmFormat() writes ChatGLM3 and GLM-4 conversations with role tokens", async () => {
  const messages = [{ role: "system", content: "Be kind." }, ...LONG.slice(0, 3)];
  assertEquals(
    (await template("chatglm3")).render(messages),
    "[gMASK]sop<|system|>\n Be kind.<|user|>\n 你好<|assistant|>\n 您好！<|user|>\n 1+1<|assistant|>",
  );
  assertEquals(
    (await template("glm4")).render(messages),
    "[gMASK]<sop><|system|>\nBe kind.<|user|>\n你好<|assistant|>\n您好！<|user|>\n1+1<|assistant|>",
  );
  assertEquals(
    (await template("glm4")).render([user("a")], { addGenerationPrompt: false }),
    "[gMASK]<sop><|user|>\na",
  );
});

Deno.test("a format refuses roles that it has no place for, and belongs to its family alone", async () => {
  for (const name of ["chatglm", "chatglm2"] as const) {
    const { render } = await template(name);
    await assertRejects(
      async () => await render([{ role: "system", content: "x" }, user("a")]),
      InputError,
      "take turns",
    );
    await assertRejects(async () => await render([user("a"), user("b")]), InputError, "take turns");
  }
  const { render } = await template("glm4");
  await assertRejects(
    async () => await render([{ role: "tool", content: "" }]),
    InputError,
    "roles",
  );
  for (const family of ["glm", "glm4"]) {
    const format = chatglmFormat(family, withTokens(...TOKENS.glm4));
    assertEquals(format, chatglmFormat("chatglm", withTokens(...TOKENS.glm4)));
  }
  assertEquals(chatglmFormat("llama", withTokens(...TOKENS.glm4)), undefined);
  assertEquals(chatglmFormat("chatglm", withTokens("<s>")), undefined);
});

Deno.test("synthetic folders of ChatGLM3 and GLM-4 have the roles of their formats", async () => {
  for (const name of ["chatglm3-6b", "glm-4-9b"]) {
    const { files } = syntheticTokenizer(SHAPES[name]!.config);
    const bytes = (it: string | Uint8Array): Uint8Array =>
      typeof it === "string" ? new TextEncoder().encode(it) : it;
    const config = JSON.parse(files["tokenizer_config.json"] as string);
    const file: ModelFile = {
      ...{ format: "safetensors", name, metadata: { ...SHAPES[name]!.config } },
      ...{ tensors: new Map(), tokenizerConfig: config },
      tokenizerFiles: { "tokenizer.model": bytes(files["tokenizer.model"]!) },
      close() {},
    };
    const { tokenizer, chatTemplate: source } = (await readModelText(file))!;
    const { pieces } = await chatTemplate(source);
    const messages = [{ role: "system", content: "Be kind." }, user("a")];
    const ids = tokenizer.encode(pieces(messages), { addSpecial: false });
    const marks = ids.map((id) => tokenizer.idToToken(id)).filter((it) => it?.startsWith("<|"));
    assertEquals(marks, ["<|system|>", "<|user|>", "<|assistant|>"], name);
    // An answer ends where somebody else speaks.
    assert(tokenizer.eosIds.includes(tokenizer.tokenToId("<|user|>")!), name);
  }
});

interface Folder {
  name: string;
  files: Record<string, string>;
  config: Record<string, unknown>;
}

Deno.test("a ChatGLM folder without a template has its family's, and messages cannot spell its tokens", async () => {
  const { folders } = JSON.parse(
    Deno.readTextFileSync(new URL("tokenizers/published.json", FIXTURES)),
  ) as { folders: Folder[] };
  for (const [name, ends] of [["chatglm-6b", "[gMASK]"], ["chatglm3-6b", "<|assistant|>"]]) {
    const folder = folders.find((it) => it.name === name)!;
    const tokenizerFiles = Object.fromEntries(
      Object.entries(folder.files).map((
        [file, text],
      ) => [file, Uint8Array.from(atob(text), (unit) => unit.charCodeAt(0))]),
    );
    const file: ModelFile = {
      ...{ format: "safetensors", name, metadata: { model_type: "chatglm" } },
      ...{ tensors: new Map(), tokenizerConfig: folder.config, tokenizerFiles, close() {} },
    };
    const { tokenizer, chatTemplate: source } = (await readModelText(file))!;
    const compiled = await chatTemplate(source);
    const ids = tokenizer.encode(compiled.pieces([user(`a${ends}b`)]), { addSpecial: false });
    const id = tokenizer.tokenToId(ends)!;
    assertEquals(ids.filter((it) => it === id).length, 1);
    assert(ids.lastIndexOf(id) >= ids.length - 2);
    // A template of the folder's own stands before it.
    const own = { ...file, tokenizerConfig: { ...folder.config, chat_template: "own" } };
    assertEquals((await readModelText(own))!.chatTemplate, "own");
  }
});
