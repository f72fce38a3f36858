/**
 * A hub and its storage host on 127.0.0.1, for tests: the answers, headers and redirects of a Hugging Face
 * style hub, and the misbehaviour of networks. It speaks HTTP by hand, because no well-behaved server
 * can be talked into cutting a body, promising a wrong length or falling silent.
 *
 * @module
 */
import { createHash } from "node:crypto";

/** A request as a server saw it. */
export interface Seen {
  /** Which of the two servers. */
  readonly server: "hub" | "cdn";
  /** Path and query. */
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Headers;
  /** `performance.now()` at its arrival. */
  readonly at: number;
  /** Body bytes that were sent in answer. */
  sent: number;
}

/** How an answer goes wrong. Anything absent goes right. */
export interface Fault {
  /** Answers with this status and this text instead. */
  status?: number;
  text?: string;
  /** Headers besides, or instead. */
  headers?: Record<string, string>;
  /** Closes the connection after so many bytes of the body (-1: before the headers). */
  cutAfter?: number;
  /** Falls silent after so many bytes of the body (-1: before the headers). */
  stallAfter?: number;
  /** Answers 200 with everything, as servers without ranges do. */
  ignoreRange?: boolean;
  /** Announces a file longer than it is by so many bytes. */
  longerBy?: number;
  /** Sends no length at all and closes at the end, as HTTP/1.0 did. */
  noLength?: boolean;
  /** Changes a byte of the body. */
  damage?: boolean;
  /** Milliseconds to wait before every 64 KiB. */
  slowMs?: number;
  /** Sends single bytes, with so many milliseconds between them. */
  trickleMs?: number;
  /** Sends zeros in chunks, without announcing a length, until the client goes. */
  endless?: boolean;
}

/** A file in a repository. */
export interface ServedFile {
  readonly bytes: Uint8Array;
  /** Large files are kept in LFS: SHA-256 in the listing, served by the storage host. */
  readonly lfs: boolean;
}

/** One state of a repository. */
export interface Commit {
  readonly sha: string;
  readonly files: Map<string, ServedFile>;
}

type Body = { status: number; headers: Record<string, string>; bytes: Uint8Array };

/** The running pair of servers. */
export class TestHub implements AsyncDisposable {
  /** `ORG/REPO` → branch → its commit. */
  readonly repos = new Map<string, Map<string, Commit>>();
  /** Files at plain URLs of the storage host: path → bytes and headers. */
  readonly plain = new Map<string, { bytes: Uint8Array; headers: Record<string, string> }>();
  /** Every request so far. */
  readonly seen: Seen[] = [];
  /** Asked before every answer. */
  fault: (request: Seen) => Fault | undefined = () => undefined;
  /** When set, the hub wants this token. */
  token: string | undefined;
  /** Bodies being sent by the storage host at once, at most so far. */
  busiest = 0;
  #busy = 0;
  readonly #commits = new Map<string, Commit>();
  readonly #open = new Set<Deno.Conn>();
  readonly #listeners = {
    hub: Deno.listen({ hostname: "127.0.0.1", port: 0 }),
    cdn: Deno.listen({ hostname: "127.0.0.1", port: 0 }),
  };
  readonly #loops: Promise<void>[];

  constructor() {
    this.#loops = [this.#serve("hub"), this.#serve("cdn")];
  }

  /** The hub's address. */
  get endpoint(): string {
    return this.#address("hub");
  }

  /** The storage host's address. */
  get cdn(): string {
    return this.#address("cdn");
  }

  /** Sets the files of a branch, as a push does; says the new commit. */
  push(repo: string, files: Record<string, Uint8Array | string>, branch = "main"): string {
    const entries = Object.entries(files).map(([path, content]): [string, ServedFile] => {
      const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
      return [path, { bytes, lfs: /\.(gguf|safetensors|bin|msgpack)$/.test(path) }];
    });
    const text = JSON.stringify(entries.map(([path, { bytes }]) => [path, hex("sha1", bytes)]));
    const commit = { sha: hex("sha1", new TextEncoder().encode(text)), files: new Map(entries) };
    this.#commits.set(`${repo}@${commit.sha}`, commit);
    const branches = this.repos.get(repo) ?? new Map<string, Commit>();
    this.repos.set(repo, branches.set(branch, commit));
    return commit.sha;
  }

  /** Body bytes that the storage host has sent. */
  sentByCdn(): number {
    return this.seen.reduce((sum, { server, sent }) => sum + (server === "cdn" ? sent : 0), 0);
  }

  /** Resolves when every connection made so far has been answered or given up. */
  async settle(): Promise<void> {
    do await new Promise((resolve) => setTimeout(resolve, 20)); // one just made is not yet accepted
     while (this.#open.size > 0);
  }

  /** Forgets the requests so far, and goes right again. */
  reset(): void {
    this.seen.length = this.busiest = 0;
    this.fault = () => undefined;
    this.token = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const listener of Object.values(this.#listeners)) listener.close();
    for (const conn of this.#open) close(conn);
    await Promise.all(this.#loops);
  }

  #address(server: Seen["server"]): string {
    return `http://127.0.0.1:${(this.#listeners[server].addr as Deno.NetAddr).port}`;
  }

  async #serve(server: Seen["server"]): Promise<void> {
    const answers: Promise<void>[] = [];
    try {
      for await (const conn of this.#listeners[server]) {
        this.#open.add(conn);
        const answer = this.#answer(server, conn).catch(() => {}); // the client went away
        answers.push(answer.finally(() => {
          this.#open.delete(conn);
          close(conn);
        }));
      }
    } finally {
      await Promise.all(answers);
    }
  }

  async #answer(server: Seen["server"], conn: Deno.Conn): Promise<void> {
    const request = await readRequest(server, conn);
    if (request === undefined) return;
    this.seen.push(request);
    const fault = this.fault(request) ?? {};
    const body = fault.status !== undefined
      ? {
        status: fault.status,
        headers: {},
        bytes: new TextEncoder().encode(fault.text ?? ""),
      }
      : server === "hub"
      ? this.#hub(request)
      : this.#cdn(request, fault);
    if (server === "cdn") this.busiest = Math.max(this.busiest, ++this.#busy);
    try {
      await send(conn, request, body, fault);
    } finally {
      if (server === "cdn") this.#busy--;
    }
  }

  #hub(request: Seen): Body {
    const url = new URL(request.path, this.endpoint);
    if (
      this.token !== undefined && request.headers.get("authorization") !== `Bearer ${this.token}`
    ) {
      return json(401, { error: "Invalid username or password." });
    }
    const [, api, org, name, verb, ...rest] = decodeURIComponent(url.pathname).replace(
      /^\/api\/models/,
      "/api",
    )
      .replace(/^\/(?!api\/)/, "/files/").split("/");
    const repo = `${org}/${name}`;
    const branches = this.repos.get(repo);
    if (!branches) return json(404, { error: "Repository not found" }, "RepoNotFound");
    const revision = verb === "resolve" ? rest[0] : rest.join("/");
    const commit = branches.get(revision) ?? this.#commits.get(`${repo}@${revision}`);
    if (!commit) return json(404, { error: `Invalid rev id: ${revision}` }, "RevisionNotFound");
    if (api === "api" && verb === "revision") {
      return json(200, {
        _id: "1",
        id: repo,
        sha: commit.sha,
        lastModified: "2026-01-01T00:00:00Z",
      });
    }
    if (api === "api" && verb === "tree") return this.#tree(url, commit);
    const path = rest.slice(1).join("/");
    const file = commit.files.get(path);
    if (!file) return json(404, { error: "Entry not found" }, "EntryNotFound");
    const headers: Record<string, string> = {
      "x-repo-commit": commit.sha,
      "accept-ranges": "bytes",
    };
    if (!file.lfs) {
      return ranged(request, file.bytes, { ...headers, etag: `"${gitBlob(file.bytes)}"` }, {});
    }
    const sha256 = hex("sha256", file.bytes);
    headers["x-linked-etag"] = `"${sha256}"`;
    headers["x-linked-size"] = String(file.bytes.length);
    // A signed link: a query that must not turn up in any message.
    headers.location = `${this.cdn}/${repo}/${commit.sha}/${path}?X-Signature=s3cr3t-signature`;
    return { status: 302, headers, bytes: new TextEncoder().encode("Found") };
  }

  /** Two entries a page, so that paging is exercised. */
  #tree(url: URL, { files }: Commit): Body {
    const entries = [...files].map(([path, { bytes, lfs }]) => ({
      type: "file",
      oid: gitBlob(lfs ? new TextEncoder().encode("pointer") : bytes),
      size: bytes.length,
      path,
      ...(lfs && { lfs: { oid: hex("sha256", bytes), size: bytes.length, pointerSize: 134 } }),
    }));
    const cursor = Number(url.searchParams.get("cursor") ?? 0);
    const answer = json(200, [
      { type: "directory", oid: "0", size: 0, path: "folder" },
      ...entries.slice(cursor, cursor + 2),
    ]);
    if (cursor + 2 < entries.length) {
      url.searchParams.set("cursor", String(cursor + 2));
      answer.headers.link = `<${url.href}>; rel="next"`;
    }
    return answer;
  }

  #cdn(request: Seen, fault: Fault): Body {
    const path = request.path.replace(/\?.*/, "");
    const plain = this.plain.get(path);
    if (plain) return ranged(request, plain.bytes, plain.headers, fault);
    const [, org, name, sha, ...rest] = decodeURIComponent(path).split("/");
    const file = this.#commits.get(`${org}/${name}@${sha}`)?.files.get(rest.join("/"));
    if (!file) return { status: 404, headers: {}, bytes: new Uint8Array() };
    return ranged(request, file.bytes, { etag: `"${hex("sha1", file.bytes)}"` }, fault);
  }
}

const hashes = {
  sha1: new WeakMap<Uint8Array, string>(),
  sha256: new WeakMap<Uint8Array, string>(),
};

/** Lower-case hexadecimal hash, computed once per array. */
export function hex(algorithm: "sha1" | "sha256", bytes: Uint8Array): string {
  const known = hashes[algorithm].get(bytes);
  const hash = known ?? createHash(algorithm).update(bytes).digest("hex");
  hashes[algorithm].set(bytes, hash);
  return hash;
}

function gitBlob(bytes: Uint8Array): string {
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

function json(status: number, value: unknown, code?: string): Body {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (code) headers["x-error-code"] = code;
  return { status, headers, bytes: new TextEncoder().encode(JSON.stringify(value)) };
}

/** One range, If-Range and 416, as RFC 9110 has them. */
function ranged(
  request: Seen,
  bytes: Uint8Array,
  headers: Record<string, string>,
  fault: Fault,
): Body {
  const total = bytes.length + (fault.longerBy ?? 0);
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.get("range") ?? "");
  const condition = request.headers.get("if-range");
  const current = condition === null || condition === (headers.etag ?? headers["last-modified"]);
  if (!range || !current || fault.ignoreRange) return { status: 200, headers, bytes };
  const last = bytes.length - 1;
  const from = Number(range[1]), to = range[2] ? Math.min(Number(range[2]), last) : last;
  if (from >= bytes.length) {
    return {
      status: 416,
      headers: { "content-range": `bytes */${total}` },
      bytes: new Uint8Array(),
    };
  }
  const slice = bytes.subarray(from, to + 1);
  return {
    status: 206,
    headers: { ...headers, "content-range": `bytes ${from}-${to}/${total}` },
    bytes: slice,
  };
}

async function send(
  conn: Deno.Conn,
  request: Seen,
  { status, headers, bytes }: Body,
  fault: Fault,
): Promise<void> {
  const { cutAfter = Infinity, stallAfter = Infinity } = fault;
  if (cutAfter < 0) return;
  if (stallAfter < 0) return await silence(conn);
  const length = fault.endless
    ? { "transfer-encoding": "chunked" }
    : fault.noLength
    ? {}
    : { "content-length": String(bytes.length + (status === 200 ? fault.longerBy ?? 0 : 0)) };
  const lines = Object.entries({ connection: "close", ...length, ...headers, ...fault.headers })
    .map((
      [name, value],
    ) => `${name}: ${value}`);
  await write(
    conn,
    new TextEncoder().encode([`HTTP/1.1 ${status} Status`, ...lines, "", ""].join("\r\n")),
  );
  for (let sent = 0; fault.endless; sent = request.sent += 65_536) {
    if (sent > 1e9) throw new Error("the client reads without end");
    const chunk = new Uint8Array(65_536 + 9);
    chunk.set(new TextEncoder().encode("10000\r\n"));
    chunk.set([13, 10], 65_536 + 7);
    await write(conn, chunk);
  }
  for (const byte of fault.trickleMs ? bytes : []) {
    await write(conn, Uint8Array.of(byte));
    request.sent++;
    await new Promise((resolve) => setTimeout(resolve, fault.trickleMs));
  }
  if (fault.trickleMs) return;
  if (fault.damage) {
    bytes = bytes.slice();
    bytes[bytes.length >> 1] ^= 1;
  }
  const end = Math.min(bytes.length, cutAfter, stallAfter);
  for (let at = 0; at < end;) {
    if (fault.slowMs) await new Promise((resolve) => setTimeout(resolve, fault.slowMs));
    const next = Math.min(end, at + 65_536);
    await write(conn, bytes.subarray(at, next));
    request.sent += next - at;
    at = next;
  }
  if (stallAfter < Infinity) await silence(conn);
}

/** Says nothing until the client goes. */
async function silence(conn: Deno.Conn): Promise<void> {
  await conn.read(new Uint8Array(1));
}

async function write(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  while (bytes.length > 0) bytes = bytes.subarray(await conn.write(bytes));
}

async function readRequest(server: Seen["server"], conn: Deno.Conn): Promise<Seen | undefined> {
  let text = "";
  const buffer = new Uint8Array(4096);
  while (!text.includes("\r\n\r\n")) {
    const n = await conn.read(buffer);
    if (n === null) return undefined;
    text += new TextDecoder().decode(buffer.subarray(0, n));
  }
  const [first, ...lines] = text.slice(0, text.indexOf("\r\n\r\n")).split("\r\n");
  const headers = new Headers(lines.map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  }));
  return { server, path: first.split(" ")[1], headers, at: performance.now(), sent: 0 };
}

function close(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch { /* closed already */ }
}
