/** Model specs, and which files of a repository they mean. */
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { InputError, SourceError } from "../errors.ts";
import { type HubFile, quantTag, selectFiles } from "../runtime/hub/select.ts";
import { formatSpec, type HubSpec, parseModelSpec } from "../runtime/hub/spec.ts";
import { hex } from "./hub_server.ts";

Deno.test("parseModelSpec() reads every form", () => {
  assertEquals(parseModelSpec("hf:Qwen/Qwen3-0.6B-GGUF:Q8_0"), {
    kind: "hub",
    repo: "Qwen/Qwen3-0.6B-GGUF",
    pick: "Q8_0",
  });
  assertEquals(parseModelSpec("hf:a/b@refs/pr/1:sub/x.gguf"), {
    kind: "hub",
    repo: "a/b",
    revision: "refs/pr/1",
    pick: "sub/x.gguf",
  });
  assertEquals(parseModelSpec("HF:a/b@v1.0"), { kind: "hub", repo: "a/b", revision: "v1.0" });
  assertEquals(parseModelSpec("./models/x.gguf"), { kind: "path", path: "./models/x.gguf" });
  assertEquals(parseModelSpec("C:\\models\\x.gguf"), { kind: "path", path: "C:\\models\\x.gguf" });
  assertEquals(parseModelSpec("file:///a%20b/x.gguf"), { kind: "path", path: "/a b/x.gguf" });
  const url = parseModelSpec("https://example.com/x.gguf?key=1#top");
  assertEquals(url.kind === "url" && url.url.href, "https://example.com/x.gguf?key=1");
  assertEquals(formatSpec(url), "https://example.com/x.gguf");
  for (const text of ["hf:a/b", "hf:a/b@main", "hf:a/b@v1:Q4_0", "hf:a/b:Q4_0"]) {
    assertEquals(formatSpec(parseModelSpec(text)), text);
  }
});

Deno.test("parseModelSpec() names what is wrong and the form", () => {
  const bad = [
    "",
    "  ",
    "hf:",
    "hf:qwen",
    "hf:a/b/c",
    "hf:../b",
    "hf:a/..",
    "hf:a/b@",
    "hf:a/b@../x",
    "hf:a/b:",
    "hf:a/b:../x",
    "hf:a/b:/etc/x",
    "ftp://a/b",
    "https://",
  ];
  for (const text of bad) {
    const error = assertThrows(() => parseModelSpec(text), InputError);
    assertStringIncludes(error.message, "hf:ORG/REPO[@REVISION][:FILE-or-QUANT-TAG]");
  }
  const error = assertThrows(
    () => parseModelSpec("https://me:pass@example.com/x.gguf"),
    InputError,
  );
  assert(!error.message.includes("pass@") && error.message.includes("https://example.com"));
});

function listing(...paths: string[]): HubFile[] {
  return paths.map((path, i) => ({
    path,
    size: 1000 + i,
    algorithm: "sha256",
    hash: hex("sha256", new TextEncoder().encode(path)),
  }));
}

function pick(spec: string, ...paths: string[]): string[] {
  const { entry, files } = selectFiles(parseModelSpec(spec) as HubSpec, listing(...paths));
  return [entry, ...files.map(({ path }) => path)];
}

Deno.test("selectFiles() chooses a GGUF file by name, by tag, or by the order of preference", () => {
  const repo = [
    "README.md",
    "m-F16.gguf",
    "m-Q4_K_M.gguf",
    "m-q8_0.gguf",
    "m-UD-Q4_K_XL.gguf",
    "mmproj-m-F16.gguf",
    "imatrix.gguf",
  ];
  assertEquals(pick("hf:a/b", ...repo), ["m-Q4_K_M.gguf", "m-Q4_K_M.gguf"]);
  assertEquals(pick("hf:a/b", "m-Q4_0.gguf", ...repo)[0], "m-Q4_0.gguf");
  assertEquals(pick("hf:a/b", "model.gguf", "config.json")[0], "model.gguf");
  for (const tag of ["Q8_0", "q8_0", "m-q8_0.gguf", "M-Q8_0.GGUF", "m-q8_0"]) {
    assertEquals(pick(`hf:a/b:${tag}`, ...repo)[0], "m-q8_0.gguf");
  }
  assertEquals(pick("hf:a/b:ud-q4_k_xl", ...repo)[0], "m-UD-Q4_K_XL.gguf");
  assertEquals(pick("hf:a/b:fp16", ...repo)[0], "m-F16.gguf");
  const parts = ["x/m-Q4_0-00001-of-00002.gguf", "x/m-Q4_0-00002-of-00002.gguf"];
  assertEquals(pick("hf:a/b:Q4_0", parts[1], parts[0]), [parts[0], ...parts]);
  assertEquals(pick("hf:a/b:m-Q4_0-00002-of-00002.gguf", ...parts), [parts[0], ...parts]);
  assertEquals(
    ["a.Q5_K_M.gguf", "BF16/a-00001-of-00002.gguf", "a-7b.gguf", "a_IQ3_XXS.gguf"].map(quantTag),
    ["Q5_K_M", "BF16", "", "IQ3_XXS"],
  );
});

Deno.test("selectFiles() lists what there is when the pick fits nothing or too much", () => {
  const unknown = assertThrows(() => pick("hf:a/b:Q2_K", "m-Q4_0.gguf", "m-Q8_0.gguf"), InputError);
  assertMatch(
    unknown.message,
    /"Q2_K" fits no GGUF file; there is Q4_0 \(m-Q4_0\.gguf\), Q8_0 \(m-Q8_0\.gguf\)/,
  );
  const ambiguous = assertThrows(
    () => pick("hf:a/b:Q4_0", "a-Q4_0.gguf", "b-Q4_0.gguf", "b-Q8_0.gguf"),
    InputError,
  );
  assertMatch(
    ambiguous.message,
    /more than one GGUF file; there is Q4_0 \(a-Q4_0\.gguf\), Q4_0 \(b-Q4_0\.gguf\)$/,
  );
  assertThrows(
    () => pick("hf:a/b", "a-Q4_0.gguf", "b-Q4_0.gguf"),
    InputError,
    "none is the plain choice",
  );
  assertThrows(
    () => pick("hf:a/b", "m-Q4_0-00001-of-00003.gguf", "m-Q4_0-00003-of-00003.gguf"),
    SourceError,
    "split in 3 parts",
  );
  const wanted = () => pick("hf:a/b:safetensors", "pytorch_model.bin");
  assertThrows(wanted, SourceError, "the repository has no safetensors file");
  const none = () => pick("hf:a/b", "model.onnx", "training_args.bin", "optimizer.pt");
  assertThrows(none, SourceError, "no GGUF, safetensors or torch file");
});

Deno.test("selectFiles() takes files of torch where there is nothing else", () => {
  const index = "pytorch_model.bin.index.json";
  const shards = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"];
  const rest = ["training_args.bin", "optimizer.pt", "tf_model.h5", "ice_text.model"];
  assertEquals(
    pick("hf:a/b", ...rest, ...shards, index, "config.json").sort(),
    ["", "config.json", "ice_text.model", index, ...shards].sort(),
  );
  assertEquals(pick("hf:a/b", "pytorch_model.bin", ...shards, ...rest), [
    "",
    "pytorch_model.bin",
    "ice_text.model",
  ]);
  assertEquals(pick("hf:a/b", "model.pth", "training_args.bin"), ["", "model.pth"]);
  assertThrows(() => pick("hf:a/b", "a.pt", "b.pt"), SourceError, "torch file");
  assertEquals(pick("hf:a/b", "pytorch_model.bin", "m-Q4_0.gguf"), ["m-Q4_0.gguf", "m-Q4_0.gguf"]);
});

Deno.test("selectFiles() takes a safetensors repository once and whole", () => {
  const support = [
    "config.json",
    "tokenizer.json",
    "tokenizer.model",
    "merges.txt",
    "chat_template.jinja",
    "chat_templates/tool_use.jinja",
    "model.safetensors.index.json",
    "1_Pooling/config.json",
  ];
  const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
  const rest = [
    "README.md",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "flax_model.msgpack",
    "consolidated.safetensors",
    "onnx/model.onnx",
    "original/params.json",
    "tf_model.h5",
  ];
  assertEquals(
    pick("hf:a/b", ...rest, ...shards, ...support).sort(),
    ["", ...support, ...shards].sort(),
  );
  assertEquals(pick("hf:a/b", "model.safetensors", ...shards), ["", "model.safetensors"]);
  assertEquals(pick("hf:a/b:safetensors", "m-Q4_0.gguf", "model.safetensors"), [
    "",
    "model.safetensors",
  ]);
});
