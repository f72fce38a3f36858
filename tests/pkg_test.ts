/**
 * kernels/pkg as its users meet it: a package in the form of wasm-pack's `web` target, in a folder of
 * its own, started by `init` and by `initSync`, with its types checked.
 */

import { assert, assertEquals } from "@std/assert";

const PKG = new URL("../kernels/pkg/", import.meta.url);

/** What a user may write: adds two vectors with a kernel, on a module that was started in some way. */
const PROGRAM = `
import init, { add, barrier, initSync, type InitOutput, probeDots, run } from "./pkg/kernels.js";

const [way, file] = Deno.args;
const url = new URL("./pkg/" + file, import.meta.url);
let wasm: InitOutput;
let memory: WebAssembly.Memory;
const own = (): WebAssembly.Memory =>
  new WebAssembly.Memory({ initial: 160, maximum: 65536, shared: true });
switch (way) {
  case "init":
    wasm = await init(url);
    memory = new WebAssembly.Memory({ initial: 0 }); // the module has its own
    break;
  case "init by default":
    wasm = await init();
    memory = new WebAssembly.Memory({ initial: 0 });
    break;
  case "init with a memory":
    memory = own();
    wasm = await init({ module_or_path: Deno.readFile(url), memory });
    break;
  case "init with a response":
    memory = own();
    wasm = await init({ module_or_path: new Response(await Deno.readFile(url)), memory });
    break;
  case "initSync":
    memory = own();
    wasm = initSync({ module: await Deno.readFile(url), memory });
    break;
  default:
    memory = own();
    wasm = initSync({ module: new WebAssembly.Module(await Deno.readFile(url)), memory });
}
const again: InitOutput = initSync(new Uint8Array());
if (again !== wasm || await init() !== wasm) throw new Error("a second start is another one");

// a, b and out from 4096 on; the arguments of the kernel; the cell with the number of rows.
const buffer = (wasm.memory ?? memory).buffer;
const floats = new Float32Array(buffer), words = new Int32Array(buffer);
floats.set([1, 2, 3, 4, 5], 4096 / 4);
floats.set([10, 20, 30, 40, 50], 4160 / 4);
words[4032 / 4] = 1;
words.set([4096, 4160, 4224, 4032, 5, 0], 2048 / 4);
const kernel: (args: number, worker: number, workers: number) => void = add;
kernel(2048, 0, 1);
barrier(1);
run(2048, 0, 0, 1);
if (!Number.isFinite(probeDots(0, 1))) throw new Error("no number");
wasm.add(2048, 0, 1);
console.log(JSON.stringify(Array.from(floats.subarray(4224 / 4, 4224 / 4 + 5))));
`;

/** What its types must refuse. */
const WRONG = `
import init, { add, initSync } from "./pkg/kernels.js";
add("2048", 0, 1);
initSync();
const exports: number = await init();
`;

async function deno(folder: string, ...args: string[]) {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: folder,
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  return { success, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

Deno.test("kernels/pkg works as a package of wasm-pack does, started in every way", async (t) => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${folder}/pkg`);
    const { files, main, types } = JSON.parse(
      await Deno.readTextFile(new URL("package.json", PKG)),
    ) as { files: string[]; main: string; types: string };
    assert(files.includes(main) && files.includes(types));
    // What the package says it is made of, and nothing else.
    for (const name of [...files, "package.json"]) {
      await Deno.copyFile(new URL(name, PKG), `${folder}/pkg/${name}`);
    }
    await Deno.writeTextFile(`${folder}/deno.json`, `{ "lock": false }`);
    await Deno.writeTextFile(`${folder}/program.ts`, PROGRAM);
    await Deno.writeTextFile(`${folder}/wrong.ts`, WRONG);

    await t.step("its types are those that it has", async () => {
      const { success, stderr } = await deno(folder, "check", "program.ts");
      assert(success, stderr);
      const wrong = await deno(folder, "check", "wrong.ts");
      assert(!wrong.success);
      for (const line of [3, 4, 5]) {
        assert(wrong.stderr.includes(`wrong.ts:${line}:`), `line ${line} passed:\n${wrong.stderr}`);
      }
    });

    for (const file of files.filter((name) => name.endsWith(".wasm"))) {
      const ways = ["init", "init with a memory", "init with a response", "initSync", "a module"];
      if (file === "kernels_bg.wasm") ways.push("init by default");
      for (const way of ways) {
        await t.step(`${file}: ${way}`, async () => {
          const found = await deno(folder, "run", "--no-check", "-R=.", "program.ts", way, file);
          assert(found.success, found.stderr);
          assertEquals(JSON.parse(found.stdout), [11, 22, 33, 44, 55]);
        });
      }
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
