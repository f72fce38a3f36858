/**
 * The other end of process.ts: starts the process of a peer, asks it and waits for its answers.
 *
 * @module
 */

import type { Work } from "./peer.ts";
import { ANSWER, type Answer, type Question } from "./table.ts";

/** A program that waits for work. */
export interface PeerProcess {
  /** How it runs, as it says once a work is open. */
  readonly what: string;
  /** Some numbers of what its last run gave, where there are any. */
  readonly sample: readonly number[] | undefined;
  /** Makes a work ready; the answer is why it cannot be done, or nothing. */
  open(work: Work, threads: number): Promise<string | undefined>;
  /** Does it once: milliseconds, or why it could not be done. */
  run(): Promise<number | string>;
  /** Ends the process. */
  close(): void;
}

/** Starts a peer in a process of its own. */
export function openPeer(name: string): PeerProcess {
  // The peers' packages lie in a node_modules folder, which Deno looks into only when told.
  const packages = name.startsWith("sparrow") ? [] : ["--node-modules-dir=manual"];
  const script = new URL("process.ts", import.meta.url).href;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--no-lock", "--quiet", ...packages, script, name],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "", what = "", sample: readonly number[] | undefined;

  /** The next line that is an answer; other lines are the program's own. */
  const listen = async (): Promise<Answer> => {
    for (;;) {
      for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
        const line = text.slice(0, end);
        text = text.slice(end + 1);
        if (line.startsWith(ANSWER)) return JSON.parse(line.slice(ANSWER.length));
      }
      const { value, done } = await reader.read();
      if (done) return { absent: "its process ended" };
      text += value;
    }
  };
  const ask = async (question: Question): Promise<Answer> => {
    try {
      await writer.write(new TextEncoder().encode(JSON.stringify(question) + "\n"));
    } catch {
      // It ended; listening says so.
    }
    return await listen();
  };
  return {
    get what() {
      return what;
    },
    get sample() {
      return sample;
    },
    async open(work, threads) {
      const answer = await ask({ work, threads });
      if ("ready" in answer) what = answer.what;
      return "absent" in answer ? answer.absent : undefined;
    },
    async run() {
      const answer = await ask({ run: true });
      if ("ms" in answer) sample = answer.sample;
      return "ms" in answer ? answer.ms : "absent" in answer ? answer.absent : "it did not answer";
    },
    close() {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended.
      }
      reader.cancel().catch(() => {});
    },
  };
}
