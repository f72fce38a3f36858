/**
 * The buffers of a device: an account of their bytes, and of what went wrong. WebGPU reports
 * failures later than they happen; `settled` is where they come to light.
 *
 * @module
 */

import { BackendError, MemoryError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";

/** Bytes that may wait to be uploaded. */
const UPLOAD_BYTES = 2 ** 26;

/** How long to wait for the news that a device is lost. */
const LOSS_MS = 1000;

/** Owns every buffer of a device. */
export class GpuMemory {
  /** Whose buffers they are. */
  readonly device: GPUDevice;
  /** Bytes of all buffers. */
  #bytes = 0;
  readonly #buffers = new Set<GPUBuffer>();
  /** Failures that are not known yet. */
  #pending: Promise<void>[] = [];
  /** Why nothing can run any more. */
  #ended: Error | undefined;
  #uploading = 0;
  #disposed = false;

  /** An account of a new device. */
  constructor(device: GPUDevice) {
    this.device = device;
    device.lost.then(({ message }) => {
      if (this.#disposed) return;
      // Whatever else failed, this is why.
      this.#ended = new BackendError(
        `Cannot go on: the GPU device was lost${message && `: ${message}`}; load the model again`,
      );
    });
  }

  /** Bytes of all buffers. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * A buffer of zeros.
   *
   * @throws MemoryError when the device allows none of that size
   */
  create(bytes: number, usage: number, label: string): GPUBuffer {
    this.check();
    const size = Math.ceil(bytes / 16) * 16;
    const most = Number(this.device.limits.maxBufferSize);
    if (size > most) {
      throw new MemoryError(
        `Cannot place ${quote(label)} ` +
          `on the GPU: it takes ${size} bytes, a buffer holds at most ${most}`,
      );
    }
    const buffer = this.guard(
      (message) =>
        new MemoryError(`Cannot place ${quote(label)} on the GPU (${size} bytes): ${message}`),
      () => this.device.createBuffer({ size, usage, label }),
    );
    this.#buffers.add(buffer);
    this.#bytes += size;
    return buffer;
  }

  /** Copies bytes, a multiple of 4, into a buffer. */
  async upload(buffer: GPUBuffer, offset: number, data: Uint8Array): Promise<void> {
    this.check();
    this.device.queue.writeBuffer(buffer, offset, data as Uint8Array<ArrayBuffer>);
    if ((this.#uploading += data.length) < UPLOAD_BYTES) return;
    // What is written waits in host memory until something is submitted.
    this.#uploading = 0;
    this.device.queue.submit([]);
    await this.device.queue.onSubmittedWorkDone();
    await this.settled();
  }

  /** Makes calls whose failures, known only later, become errors by `describe`. */
  guard<T>(describe: (message: string) => Error, calls: () => T): T {
    const { device } = this;
    for (const kind of ["validation", "internal", "out-of-memory"] as const) {
      device.pushErrorScope(kind);
    }
    try {
      return calls();
    } finally {
      for (let i = 0; i < 3; i++) {
        const pending = device.popErrorScope().then((error) => {
          if (error) this.#ended ??= describe(error.message);
        }, () => {}); // a lost device says so itself
        this.#pending.push(pending);
      }
    }
  }

  /**
   * Waits until the failures of all calls so far are known.
   *
   * @throws BackendError or MemoryError, the first of them
   */
  async settled(): Promise<void> {
    const pending = this.#pending;
    this.#pending = [];
    await Promise.all(pending);
    this.check();
  }

  /** Waits for the first bytes of a buffer that can be mapped, and copies them. */
  async download(buffer: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
    try {
      await buffer.mapAsync(GPUMapMode.READ, 0, bytes);
      const data = buffer.getMappedRange(0, bytes).slice();
      buffer.unmap();
      await this.settled();
      return data;
    } catch (cause) {
      throw await this.#explain(cause);
    }
  }

  /** The error behind a failed call: a lost device may say so a little later than its calls fail. */
  async #explain(cause: unknown): Promise<Error> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const patience = new Promise((resolve) => timer = setTimeout(resolve, LOSS_MS));
    await Promise.race([this.device.lost, patience]);
    clearTimeout(timer);
    await Promise.all(this.#pending);
    return this.#ended ??
      new BackendError(`Cannot read from the GPU: ${(cause as Error).message}`, { cause });
  }

  /** Throws when a failure is known, or after `dispose`. */
  check(): void {
    if (this.#ended) throw this.#ended;
  }

  /** Gives one buffer back. */
  destroy(buffer: GPUBuffer): void {
    if (!this.#buffers.delete(buffer)) return;
    this.#bytes -= buffer.size;
    buffer.destroy();
  }

  /** Gives everything back. */
  dispose(): void {
    this.#disposed = true;
    this.#ended = new BackendError("Cannot run: the backend has been disposed");
    for (const buffer of this.#buffers) buffer.destroy();
    this.#buffers.clear();
    this.#bytes = 0;
    this.device.destroy();
  }
}
