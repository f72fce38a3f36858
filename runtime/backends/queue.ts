/**
 * Calls of a backend are made one at a time; whoever shares one lets its tasks wait here.
 *
 * @module
 */

/** Tasks that run one after another, in the order in which they were added. */
export class Queue {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs a task when every earlier one has ended, whether or not it failed. */
  run<T>(task: () => T | Promise<T>): Promise<T> {
    const result = this.#last.then(task);
    this.#last = result.catch(() => {});
    return result;
  }
}
