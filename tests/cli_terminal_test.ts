/** Commands on a terminal: keys, pastes, Ctrl-C, and the line that a long prompt has. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { atRate } from "../cli/format.ts";
import { describePrompt, promptProgress } from "../cli/prompt_progress.ts";
import { ignore, spawnOnTerminal } from "./pseudo_terminal.ts";
import { taskCommand } from "./task_args.ts";
import { tinyGguf, withFolder } from "./tiny_model.ts";

const ROOT = new URL("../", import.meta.url);

/** A command on a pseudo-terminal. */
class PseudoTerminal {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #output: ReadableStreamDefaultReader<string>;
  /** What it showed since the last `until`. */
  text = "";

  constructor(name: string, args: readonly string[]) {
    this.#child = spawnOnTerminal([...taskCommand(name), ...args]);
    this.#input = this.#child.stdin.getWriter();
    this.#output = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  async send(keys: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(keys));
  }

  /** Waits for a text, and forgets what was shown up to its end; the result is what was before it. */
  async until(wanted: string | RegExp): Promise<string> {
    for (;;) {
      const found = typeof wanted === "string"
        ? this.text.indexOf(wanted)
        : this.text.search(wanted);
      if (found >= 0) {
        const length = typeof wanted === "string"
          ? wanted.length
          : wanted.exec(this.text)![0].length;
        const before = this.text.slice(0, found);
        this.text = this.text.slice(found + length);
        return before;
      }
      const { value, done } = await this.#output.read();
      assert(!done, `it ended without ${wanted} after ${JSON.stringify(this.text)}`);
      this.text += value;
    }
  }

  /** Waits for its end: the exit code, and what it still showed. */
  async end(): Promise<{ code: number; text: string }> {
    for (;;) {
      const { value, done } = await this.#output.read();
      if (done) break;
      this.text += value;
    }
    const { code } = await this.#child.status;
    await this.#input.close().catch(() => {});
    return { code, text: this.text };
  }
}

/** What a prompt looks like when `text` has been typed. */
const prompt = (text: string): RegExp => new RegExp(`> (\\x1b\\[3G)?${text}`);

Deno.test({
  name: "terminal: Ctrl-C clears a typed line, and ends the program on an empty one",
  ignore,
  async fn() {
    await withFolder({ "tiny.gguf": await tinyGguf() }, async (path) => {
      const terminal = new PseudoTerminal("chat", ["-m", `${path}/tiny.gguf`, "-n", "3"]);
      await terminal.until(prompt(""));
      await terminal.send("the man");
      await terminal.until("the man");
      await terminal.send("\x03");
      await terminal.until(prompt(""));
      await terminal.send('"""\rmore\r');
      await terminal.until("more");
      await terminal.until("... ");
      await terminal.send("\x03");
      await terminal.until(prompt(""));
      await terminal.send("\x03");
      const { code, text } = await terminal.end();
      assertEquals([code, text.includes("man")], [0, false]);
      assert(text.endsWith("\x1b[?2004l") && text.includes("\n"), JSON.stringify(text));
    });
  },
});

Deno.test({
  name: "terminal: pasted lines are one message, at the cursor",
  ignore,
  async fn() {
    await withFolder({ "tiny.gguf": await tinyGguf({ context: 256 }) }, async (path) => {
      const terminal = new PseudoTerminal("chat", ["-m", `${path}/tiny.gguf`, "-n", "3"]);
      await terminal.until(prompt(""));
      await terminal.send("ad\x1b[D");
      await terminal.send("\x1b[200~b\r/help\r\nc\x1b[201~");
      await terminal.until("c");
      await terminal.send("e\r");
      await terminal.until(prompt(""));
      await terminal.send(`/save ${path}/c.json\r`);
      await terminal.until("Saved 2 messages");
      await terminal.send("/exit\r");
      assertEquals((await terminal.end()).code, 0);
      const { messages } = JSON.parse(await Deno.readTextFile(`${path}/c.json`));
      // The line break of the paste is Enter, after the whole line that stood there.
      assertEquals(messages[0], { role: "user", content: "abd\n/help\nce" });
    });
  },
});

Deno.test({
  name: "terminal: what is typed during an answer is there after it, and Ctrl-C leaves clean lines",
  ignore,
  async fn() {
    await withFolder({ "tiny.gguf": await tinyGguf() }, async (path) => {
      const endless = ["-m", `${path}/tiny.gguf`, "-n", "-1", "--slide", "--ignore-eos", "-s", "1"];
      const terminal = new PseudoTerminal("chat", endless);
      await terminal.until(prompt(""));
      await terminal.send("the man\r");
      await terminal.until(/man\r+\n[^\n]{20}/);
      await terminal.send("/help\r"); // a whole line is taken up after the answer
      await terminal.send("/exZt\x1b[D");
      await terminal.until(/.{20}/);
      await terminal.send("\x03");
      const answer = await terminal.until(
        / …\r+\nchat: interrupted after \d+ tokens at [\d.]+\/s\r+\n/,
      );
      assert(!answer.includes("/exZt"), "keys showed in the answer");
      await terminal.until("/help\r\n");
      await terminal.until("list these commands");
      await terminal.until(prompt("/exZt"));
      await terminal.send("\x7fi\r"); // deletes what is before the cursor
      assertEquals((await terminal.end()).code, 0);
    });
  },
});

Deno.test({
  name: "terminal: generate ends by Ctrl-C with a clean line, the timings and exit code 130",
  ignore,
  async fn() {
    await withFolder({ "tiny.gguf": await tinyGguf() }, async (path) => {
      const endless = ["-m", `${path}/tiny.gguf`, "-n", "-1", "--slide", "--ignore-eos", "the man"];
      const terminal = new PseudoTerminal("generate", endless);
      await terminal.until(/.{60}/);
      await terminal.send("\x03");
      await terminal.until(/\r*\nwasm, \d+ threads?: loaded in [\d.]+ m?s, prompt of 5 tokens at /);
      const { code, text } = await terminal.end();
      assertMatch(text, /^[\d.]+\/s, \d+ tokens at [\d.]+\/s, interrupted\r+\n$/);
      assertEquals(code, 130);
      // Without a prompt a terminal is not waited for, but with "-".
      const none = await new PseudoTerminal("generate", ["-m", `${path}/tiny.gguf`]).end();
      assertEquals([none.code, none.text.trimEnd().split("\n").length], [2, 1]);
      assertStringIncludes(none.text, 'or "-" for standard input');
      const typed = new PseudoTerminal("generate", ["-m", `${path}/tiny.gguf`, "-n", "3", "-"]);
      await typed.until("generate: reading standard input, Ctrl-D ends it");
      await typed.send("the man\r\x04");
      await typed.until("prompt of 5 tokens"); // without the newline
      assertEquals((await typed.end()).code, 0);
    });
  },
});

Deno.test({
  name: "one key press that arrives twice leaves the timings; the exit code is 130",
  ignore: Deno.build.os === "windows",
  async fn() {
    await withFolder({ "tiny.gguf": await tinyGguf() }, async (path) => {
      const [file, ...args] = taskCommand("generate");
      const endless = ["-m", `${path}/tiny.gguf`, "-n", "-1", "--slide", "--ignore-eos", "the man"];
      const child = new Deno.Command(file!, {
        args: [...args, ...endless],
        cwd: ROOT,
        stdout: "piped",
        stderr: "piped",
        signal: AbortSignal.timeout(60_000),
      }).spawn();
      const errors = new Response(child.stderr).text();
      const output = child.stdout.getReader();
      await output.read();
      child.kill("SIGINT"); // from the terminal
      child.kill("SIGINT"); // from the task runner
      while (!(await output.read()).done);
      assertEquals((await child.status).code, 130);
      assertMatch(await errors, /^wasm, .* tokens.*, interrupted\n$/);
    });
  },
});

Deno.test("a prompt that takes a second has a line on the terminal, and a quick one has none", async () => {
  let now = 0;
  const written: string[] = [];
  const terminal = {
    columns: () => 60,
    write: (text: string) => void written.push(text),
    now: () => now,
  };
  {
    using line = promptProgress("reading", terminal);
    line.update({ done: 0, total: 3000 });
    now = 900;
    line.update({ done: 256, total: 3000 });
    assertEquals(written, []);
    now = 2000;
    line.update({ done: 512, total: 3000 });
    assertEquals(written, [
      "\r\x1b[2Kreading: 512 of 3000 tokens, 256/s, 0:10 left",
    ]);
    // It goes on by itself.
    await new Promise<void>((resolve) => {
      terminal.write = (text) => {
        written.push(text);
        resolve();
      };
    });
    assertEquals(written.length, 2);
  }
  assertEquals(written.slice(2), ["\r\x1b[2K"]);
  assertEquals(atRate(300, 2000) + atRate(0, 2000), " at 150/s");
  terminal.columns = () => 0;
  using silent = promptProgress("reading", terminal);
  now = 9000;
  silent.update({ done: 1, total: 2 });
  assertEquals(written.length, 3);
  assertEquals(
    describePrompt({ done: 0, total: 1 }, 0, 0, 3000),
    "1 token, 0:03",
  );
  assertEquals(
    describePrompt({ done: 300, total: 900 }, 200, 2000, 5000),
    "300 of 900 tokens, 100/s, 0:01 left",
  );
});
