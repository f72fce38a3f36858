/** Quantizing that is killed, or runs out of disk: the destination is whole or not there. */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { InputError, SparrowError } from "../errors.ts";
import { quantizeModel } from "../quantize/quantize_model.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { randomNumbers } from "./fixtures.ts";
import { skipUnless } from "./skips.ts";
import { taskCommand } from "./task_args.ts";
import { tinyGguf, withFolder } from "./tiny_model.ts";

const ROOT = new URL("../", import.meta.url);
const COMMON = ["--tokens", "32", "--threads", "1"];

function command(args: readonly string[], before: readonly string[] = []): Deno.Command {
  const [file, ...rest] = [...before, ...taskCommand("quantize"), ...args];
  const env = { NO_COLOR: "1" };
  return new Deno.Command(file!, {
    ...{ args: rest, cwd: ROOT, env, stdin: "null", stdout: "piped", stderr: "piped" },
  });
}

function namesIn(path: string): string[] {
  return Array.from(Deno.readDirSync(path), (it) => it.name).sort();
}

/** How often the command is killed. */
const KILLS = 5;

Deno.test("kill -9 at any moment leaves the destination absent, whole or as it was, and the source alone", async () => {
  const tiny = await tinyGguf({ layers: 2 });
  await withFolder({ "tiny.gguf": tiny, "old.gguf": Uint8Array.of(1, 2, 3) }, async (folder) => {
    const source = `${folder}/tiny.gguf`, whole = `${folder}/whole.gguf`;
    const { mtime } = Deno.statSync(source);
    const begun = performance.now();
    assertEquals((await command([source, whole, ...COMMON]).output()).code, 0);
    const took = performance.now() - begun, bytes = Deno.readFileSync(whole);
    const random = randomNumbers(Date.now() % 2 ** 31), old = `${folder}/old.gguf`;
    let killed = 0;
    for (let i = 0; i < KILLS; i++) {
      // Every second one is to replace a file, or goes on with what the one before has left.
      const path = i % 2 === 0 ? `${folder}/out.gguf` : old;
      const more = i % 2 === 1 ? ["--force"] : i % 4 === 2 ? ["--resume"] : [];
      const child = command([source, path, ...COMMON, ...more]).spawn();
      const output = child.output();
      const share = i / KILLS + random() / KILLS;
      const timer = setTimeout(() => child.kill("SIGKILL"), 1.1 * took * share);
      const { signal } = await output;
      clearTimeout(timer);
      if (signal === "SIGKILL") killed++;
      const found = await Deno.readFile(path).catch(() => undefined);
      const isOld = path === old && found?.length === 3;
      assert(
        found === undefined && path !== old || isOld || equal(found!, bytes),
        `after ${share}`,
      );
      if (found && path !== old) await Deno.remove(path);
      assertEquals(Deno.readFileSync(source), tiny);
      assertEquals(Deno.statSync(source).mtime, mtime);
    }
    assert(killed > 0);
    // What was left is in nobody's way.
    for (const [path, flag] of [[`${folder}/out.gguf`, "--resume"], [old, "--force"]] as const) {
      const { code, stderr } = await command([source, path, ...COMMON, flag]).output();
      assertEquals(code, 0, new TextDecoder().decode(stderr));
      assert(equal(Deno.readFileSync(path), bytes));
    }
    const left = namesIn(folder).filter((it) => !/^(old|out|tiny|whole)\.gguf$/.test(it));
    // Names of files that were looked whether they can be made may be left by a kill at that moment.
    assertEquals(left.filter((it) => !/\.[0-9a-f]{8}\.part$/.test(it)), []);
  });
});

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((it, i) => it === b[i]);
}

Deno.test("a disk that is full is one error that names the file, whichever write it meets", async () => {
  await withFolder({ "tiny.gguf": await tinyGguf({ layers: 1 }) }, async (folder) => {
    const source = `${folder}/tiny.gguf`, path = `${folder}/q.gguf`;
    const { write, writeSync } = Deno.FsFile.prototype;
    const full = Object.assign(new Error("No space left on device (os error 28)"), {
      code: "ENOSPC",
    });
    let met = 0;
    try {
      for (let allowed = 0;; allowed += 3) {
        let writes = 0;
        Deno.FsFile.prototype.writeSync = function (bytes) {
          if (writes++ >= allowed) throw full;
          return writeSync.call(this, bytes);
        };
        Deno.FsFile.prototype.write = function (bytes) {
          return writes++ >= allowed ? Promise.reject(full) : write.call(this, bytes);
        };
        const made = quantizeModel(source, path, { method: "nearest" });
        if (met > 0 && await made.then(() => true, () => false)) break;
        const error = await assertRejects(() => made, SparrowError);
        assertMatch(error.message, /^Cannot write ".*q\.gguf": no room is left on the disk$/);
        assertEquals(namesIn(folder), ["tiny.gguf"]);
        met++;
      }
    } finally {
      Object.assign(Deno.FsFile.prototype, { write, writeSync });
    }
    assert(met > 2);
    const file = await openModelFile(path);
    file.close();
  });
});

Deno.test("what is no file is not replaced by one, and a name is needed", async () => {
  await withFolder({ "tiny.gguf": await tinyGguf({ layers: 1 }) }, async (folder) => {
    const options = { method: "nearest", force: true } as const, source = `${folder}/tiny.gguf`;
    const pipe = `${folder}/pipe`;
    await new Deno.Command("mkfifo", { args: [pipe] }).output();
    for (const [path, message] of [[pipe, "a device or a pipe"], ["", "the name of a file"]]) {
      await assertRejects(() => quantizeModel(source, path!, options), InputError, message);
    }
    assert(Deno.statSync(pipe).isFifo);
    assertEquals(namesIn(folder), ["pipe", "tiny.gguf"]);
  });
});

/** Whether this machine lets a program mount a small disk that nobody else sees. */
const canMount = await new Deno.Command("unshare", {
  args: ["-Urm", "sh", "-c", "mount -t tmpfs -o size=64k none /mnt"],
  ...{ stdout: "null", stderr: "null" },
}).output().then(({ success }) => success, () => false);

Deno.test({
  name: "a disk that is too small: one line, exit code 1, and nothing is left on it",
  ignore: skipUnless(canMount, "no disk can be mounted by unshare, so that none fills up"),
  async fn() {
    await withFolder({ "tiny.gguf": await tinyGguf({ layers: 3 }) }, async (folder) => {
      await Deno.mkdir(`${folder}/disk`);
      const { size } = Deno.statSync(`${folder}/tiny.gguf`);
      const script =
        `mount -t tmpfs -o size=16k none "$0/disk" && { "$@"; echo $?; ls -A "$0/disk"; }`;
      const args = [`${folder}/tiny.gguf`, `${folder}/disk/q.gguf`, "--method", "nearest"];
      assert(size > 4 * 16384);
      const { stdout, stderr } = await command(args, [
        "unshare",
        "-Urm",
        "sh",
        "-c",
        script,
        folder,
      ])
        .output();
      const [out, err] = [stdout, stderr].map((it) => new TextDecoder().decode(it));
      assertEquals(out, "1\n");
      assertMatch(
        err!,
        /^quantize: Cannot write ".*q\.gguf": it takes .* kB, but the disk has .* kB free; .*\n$/,
      );
    });
  },
});
