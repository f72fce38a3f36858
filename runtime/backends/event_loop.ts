/**
 * Letting others run, without the millisecond that a timer takes.
 *
 * @module
 */

/** Resolves after what the event loop has at hand; a timer would take a millisecond or more. */
export function eventLoop(): Promise<void> {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}
